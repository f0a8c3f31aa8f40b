"""The roles that a bot may be expected to have, in any of its processes."""

from __future__ import annotations

import enum


class ExpectedRole(enum.StrEnum):
    """A role of `botctl run` that users notice when no process has it. ``stores`` is none: it can be without a task."""

    BOT = "bot"
    REALTIME = "realtime"
    JOBS = "jobs"
    WEB = "web"
