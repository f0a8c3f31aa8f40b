"""What is well at Discord: the token, the clock, and the logins that are left today. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from botctl.core.escape import safe
from botctl.doctor.discord_api import DiscordAnswer
from botctl.doctor.finding import Finding, fault, ok, unknown
from botctl.doctor.machine import ClockEvidence, assess_clock

FEW_LOGINS: Final = 0.1
"""Of a day's logins. A crash loop uses up the rest of them within the hour."""
_MAX_GUILDS_FACTOR: Final = 2.5
"""Discord recommends a shard for each 1,000 guilds, and closes one with more than 2,500 (4011)."""
_DATE_STEP_S: Final = 1.0  # a Date has whole seconds, rounded down


def assess_token(answer: DiscordAnswer, *, sandbox: bool) -> Finding:
    """``answer``: to GET /users/@me."""
    where = "the sandbox" if sandbox else "Discord"
    if (failed := _assess_failure("token", answer, where)) is not None:
        return failed
    if answer.status != HTTPStatus.OK or not isinstance(answer.body, dict):
        return unknown("token", f"{where} answered {answer.status} to GET /users/@me")
    name = safe(str(answer.body.get("username", "?")))
    note = ": no token is set, so the bot uses the sandbox" if sandbox else ""
    return ok("token", f"{where} knows it as {name} ({safe(str(answer.body.get('id', '?')))}){note}")


def _assess_failure(check: str, answer: DiscordAnswer, where: str) -> Finding | None:
    """What is wrong with an answer that is none, or that refuses the token."""
    if answer.status is None:
        mend = "Check the network, the name server and the firewall of this machine; https://discordstatus.com."
        if where != "Discord":
            mend = "See .botctl/logs/sandbox.log."
        return fault(check, f"{where} cannot be reached: {answer.error}", mend)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        mend = (
            "Make a new one at Discord's developer portal under Bot, and set discord.token (BOTCTL_DISCORD__TOKEN). "
            "Do not restart the bot before: each attempt counts towards a ban."
        )
        return fault(check, f"{where} refuses the token (401): it is dead", mend)
    is_page = not isinstance(answer.body, dict | list)
    if is_page and answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN):  # of Cloudflare
        mend = "Stop the bot, wait an hour, and find out what sends the requests that are refused."
        return fault(check, f"{where} has banned the address of this machine for now ({answer.status})", mend)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return unknown(check, f"{where} asks to wait {answer.retry_after_s:.0f} s (429)", "Try again then.")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return unknown(check, f"{where} itself fails ({answer.status})", "Try again later; https://discordstatus.com.")
    return None


def assess_discord_clock(answer: DiscordAnswer, *, sandbox: bool) -> Finding:
    if sandbox:
        return unknown("clock", "the sandbox has the clock of this machine, so nothing can be compared")
    if (evidence := clock_evidence(answer)) is None:
        return unknown("clock", "Discord sent no date")
    return assess_clock(evidence)


def clock_evidence(answer: DiscordAnswer) -> ClockEvidence | None:
    """From the ``Date`` of an answer, which was written between its being sent and received."""
    try:
        date_s = parsedate_to_datetime(answer.date or "").timestamp()
    except ValueError:
        return None
    middle_s = (answer.sent_s + answer.received_s) / 2
    margin_s = (answer.received_s - answer.sent_s) / 2 + _DATE_STEP_S / 2
    return ClockEvidence(middle_s - (date_s + _DATE_STEP_S / 2), margin_s)


def assess_logins(answer: DiscordAnswer, *, shards: int | None, now: datetime, sandbox: bool) -> list[Finding]:
    """``answer``: to GET /gateway/bot. ``shards``: those of the settings, or None."""
    where = "the sandbox" if sandbox else "Discord"
    if (failed := _assess_failure("logins", answer, where)) is not None:
        return [failed]
    body: Any = answer.body
    try:
        limit = body["session_start_limit"]
        recommended = int(body["shards"])
        left, total = int(limit["remaining"]), int(limit["total"])
        resets_at = now.astimezone(UTC) + timedelta(milliseconds=int(limit["reset_after"]))
    except (TypeError, KeyError, ValueError, OverflowError):
        return [unknown("logins", f"{where} answered {answer.status} to GET /gateway/bot")]
    return [_assess_budget(left, total, shards or recommended, resets_at), _assess_shards(recommended, shards)]


def _assess_budget(left: int, total: int, shards: int, resets_at: datetime) -> Finding:
    until = f"{resets_at:%Y-%m-%d %H:%M} UTC"
    sentence = f"{left} of {total} logins left until {until}"
    if left < shards:
        mend = f"Wait until {until}. Discord resets the token of a bot that logs in more often."
        return fault("logins", f"{sentence}; a start needs {shards}", mend)
    if left < math.ceil(total * FEW_LOGINS):
        mend = "Find out what restarts the bot (its log, `pm2 ls`, `systemctl status`), and stop it until then."
        return fault("logins", sentence, mend)
    return ok("logins", sentence)


def _assess_shards(recommended: int, shards: int | None) -> Finding:
    have = shards or 1
    sentence = f"Discord recommends {recommended} shard{'s' if recommended > 1 else ''}, the bot has {have}"
    if recommended > have * _MAX_GUILDS_FACTOR:
        mend = f"Give the bot {recommended} shards. Discord closes a shard with more than 2,500 guilds (4011)."
        return fault("shards", sentence, mend)
    return ok("shards", sentence)


def application_flags(answer: DiscordAnswer) -> int | None:
    """The flags in an answer to GET /applications/@me; None if it is no application."""
    body: Any = answer.body
    if answer.status != HTTPStatus.OK or not isinstance(body, dict):
        return None
    try:
        return int(body.get("flags_new") or body.get("flags") or 0)
    except (TypeError, ValueError):
        return None


def application_id(answer: DiscordAnswer) -> str | None:
    """The id in an answer to GET /applications/@me. That of the bot's user is another one for old applications."""
    body: Any = answer.body
    return str(body["id"]) if answer.status == HTTPStatus.OK and isinstance(body, dict) and "id" in body else None
