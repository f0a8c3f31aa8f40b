"""JSON as it goes over the wire: without spaces, and without the search for circles, which plain data has none of."""

from __future__ import annotations

import json

dumps = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
