"""A history of starts that failed, as `botctl run` finds it."""

from __future__ import annotations

import json
import time

from botctl.core.processes.process import process_space
from botctl.run.roles import DEFAULT_ROLES
from tests.support.cli import Project


def write_starts(project: Project, count: int, *, exit_code: int, logins: int) -> None:
    """Write the history of ``count`` starts that have just failed."""
    start = {
        "at_s": time.time(),
        "seen_s": time.time(),
        "boot": process_space().partition(":")[0],
        "logins": logins,
        "exit_code": exit_code,
        "reason": "bot did not start: ValueError: boom",
    }
    (project.root / ".botctl").mkdir(exist_ok=True)
    project.write(f".botctl/starts-{'-'.join(sorted(DEFAULT_ROLES))}.json", json.dumps([start] * count))
