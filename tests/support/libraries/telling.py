"""For the bots beside this file: where Discord is, and how they tell the test what they hear."""

import json
import os
import sys

URL = sys.argv[1] if len(sys.argv) > 1 else ""
TOKEN = os.environ.get("TOKEN", "")


def tell(event: str, **more: object) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
    sys.stdout.flush()
