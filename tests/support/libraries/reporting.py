"""For the bots in this folder: the URL of the sandbox, and event reports to the test."""

import json
import os
import sys

URL = sys.argv[1] if len(sys.argv) > 1 else ""
TOKEN = os.environ.get("TOKEN", "")


def report(event: str, **more: object) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
    sys.stdout.flush()
