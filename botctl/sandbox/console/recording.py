"""Recorded traffic, as `traffic` wrote it: to be read, its requests asked again, its events told again.

What is asked again are the bots' own requests, one after the other. Ids that an answer gave are replaced by those that
its repetition gives; what needs a secret that was removed (interactions, webhooks, logins) is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botctl.core.errors import UsageError
from botctl.sandbox.model.redaction import MARK

Json = dict[str, Any]
_OPS: Final = {
    1: "HEARTBEAT",
    2: "IDENTIFY",
    3: "PRESENCE",
    6: "RESUME",
    7: "RECONNECT",
    8: "REQUEST MEMBERS",
    9: "INVALID SESSION",
    10: "HELLO",
    11: "HEARTBEAT ACK",
}
_SESSION_EVENTS: Final = frozenset({"READY", "RESUMED", "GUILD_CREATE"})
_ID: Final = re.compile(r"\b\d{17,20}\b")


def parse_recording(text: str) -> list[Json]:
    """The lines of a recording; a last one that is cut off is left out. Raises UsageError."""
    lines = text.splitlines()
    found: list[Json] = []
    for number, line in enumerate(lines, 1):
        one = _parse_object(line)
        if one is not None:
            found.append(one)
        elif number < len(lines):
            raise UsageError(f"Line {number} of the recording is no recorded traffic: {line[:60]}")
    if not found or found[0].get("traffic") != 1:
        raise UsageError("The file is no recording of this version.", hint="Make one with: botctl sandbox record FILE")
    return found[1:]


def _parse_object(line: str) -> Json | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def format_line(line: Json) -> str:
    """One line for a person: when, which bot, which way, what."""
    if "missed" in line:
        return f"… {line['missed']} lines were missed: the recorder was too slow"
    head = f"{str(line.get('at', ''))[11:23]} {line.get('bot') or '?'}"
    rest = line.get("rest")
    if rest:
        query = "?" + "&".join(f"{key}={value}" for key, value in rest["query"].items()) if rest["query"] else ""
        return f"{head} → {rest['method']} {rest['path']}{query} {rest['status']}{_format_data(rest['body'])}"
    way = next((one for one in ("sent", "heard", "closed", "left") if one in line), "")
    if way in ("closed", "left"):
        return f"{head} {'←' if way == 'closed' else '→'} closes connection {line['connection']} with {line[way]}"
    payload = line.get(way)
    arrow = "←" if way == "sent" else "→"
    return f"{head} {arrow} {_format_payload(payload)}" if isinstance(payload, dict) else f"{head} {arrow} {payload}"


def _format_payload(payload: Json) -> str:
    """A payload of the gateway by its event, or its opcode."""
    name = payload.get("t") or _OPS.get(payload.get("op", -1)) or f"op {payload.get('op')}"
    number = f" {payload['s']}" if payload.get("s") else ""
    return f"{name}{number}{_format_data(payload.get('d'))}"


def _format_data(data: Any) -> str:
    return "" if data is None else " " + json.dumps(data, ensure_ascii=False)


@dataclass(frozen=True)
class RecordedRequest:
    """One to ask again, and the status that it had."""

    bot: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    status: int
    answer: Any = field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def replayable_requests(lines: Iterable[Json]) -> Iterator[RecordedRequest]:
    """Those that a bot's token is all they need."""
    for line in lines:
        rest = line.get("rest")
        if rest and line.get("bot") and MARK not in json.dumps([rest["path"], rest["query"], rest["body"]]):
            yield RecordedRequest(line["bot"], **rest)


@dataclass(frozen=True)
class RecordedEvent:
    """An event that a bot was told."""

    bot: str
    event: str
    data: Json


def replayable_events(lines: Iterable[Json]) -> Iterator[RecordedEvent]:
    """Those that can be told again: not what begins a session, and nothing that had a secret in it."""
    for line in lines:
        sent = line.get("sent")
        if not isinstance(sent, dict) or sent.get("op") != 0 or sent.get("t") in _SESSION_EVENTS:
            continue
        if line.get("bot") and isinstance(sent["d"], dict) and MARK not in json.dumps(sent["d"]):
            yield RecordedEvent(line["bot"], sent["t"], sent["d"])


class IdMapping:
    """What ids of the recording are called now."""

    def __init__(self) -> None:
        self._now: dict[str, str] = {}

    def __call__(self, data: Any) -> Any:
        """``data`` with the ids of now."""
        if data is None:
            return None
        return json.loads(_ID.sub(lambda one: self._now.get(one[0], one[0]), json.dumps(data)))

    def learn(self, then: Any, now: Any) -> None:
        """Two answers to the same request: ids in the same places are the same things."""
        if isinstance(then, dict) and isinstance(now, dict):
            for key in then.keys() & now.keys():
                self.learn(then[key], now[key])
        elif isinstance(then, list) and isinstance(now, list):
            for old, new in zip(then, now, strict=False):
                self.learn(old, new)
        elif isinstance(then, str) and isinstance(now, str) and _ID.fullmatch(then) and _ID.fullmatch(now):
            self._now[then] = now
