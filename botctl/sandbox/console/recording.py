"""Reads recorded traffic (see `web.traffic`): parses and formats it, selects what can be replayed.

A replay sends the bots' REST requests one after the other. Ids in recorded responses are mapped to the ids of the new
responses. A recording contains no secrets, so requests that need one (interactions, webhooks, logins) are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botctl.core.errors import UsageError
from botctl.sandbox.model.redaction import PLACEHOLDER

Json = dict[str, Any]
_OP_NAMES: Final = {
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
    """Parse a recording; a truncated last line is ignored. Raises UsageError."""
    lines = text.splitlines()
    entries: list[Json] = []
    for number, line in enumerate(lines, 1):
        entry = _parse_object(line)
        if entry is not None:
            entries.append(entry)
        elif number < len(lines):
            raise UsageError(f"Line {number} of the recording is not recorded traffic: {line[:60]}")
    if not entries or entries[0].get("traffic") != 1:
        hint = "Make one with: botctl sandbox record FILE"
        raise UsageError("The file is not a recording of this version.", hint=hint)
    return entries[1:]


def _parse_object(line: str) -> Json | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def format_line(line: Json) -> str:
    """One recorded request or payload as one line of text."""
    if "missed" in line:
        return f"… {line['missed']} lines were missed: the recorder was too slow"
    head = f"{str(line.get('at', ''))[11:23]} {line.get('bot') or '?'}"
    rest = line.get("rest")
    if rest:
        query = "?" + "&".join(f"{key}={value}" for key, value in rest["query"].items()) if rest["query"] else ""
        return f"{head} → {rest['method']} {rest['path']}{query} {rest['status']}{_format_data(rest['body'])}"
    kind = next((key for key in ("sent", "heard", "closed", "left") if key in line), "")
    if kind in ("closed", "left"):
        return f"{head} {'←' if kind == 'closed' else '→'} closes connection {line['connection']} with {line[kind]}"
    payload = line.get(kind)
    arrow = "←" if kind == "sent" else "→"
    return f"{head} {arrow} {_format_payload(payload)}" if isinstance(payload, dict) else f"{head} {arrow} {payload}"


def _format_payload(payload: Json) -> str:
    """A gateway payload: its event or opcode, sequence number and data."""
    name = payload.get("t") or _OP_NAMES.get(payload.get("op", -1)) or f"op {payload.get('op')}"
    number = f" {payload['s']}" if payload.get("s") else ""
    return f"{name}{number}{_format_data(payload.get('d'))}"


def _format_data(data: Any) -> str:
    return "" if data is None else " " + json.dumps(data, ensure_ascii=False)


@dataclass(frozen=True)
class RecordedRequest:
    bot: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Any  # JSON; None without a body
    status: int
    answer: Any = field(repr=False)  # the JSON of the response

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def replayable_requests(lines: Iterable[Json]) -> Iterator[RecordedRequest]:
    """The requests that need only a bot token."""
    for line in lines:
        rest = line.get("rest")
        if rest and line.get("bot") and PLACEHOLDER not in json.dumps([rest["path"], rest["query"], rest["body"]]):
            yield RecordedRequest(line["bot"], **rest)


@dataclass(frozen=True)
class RecordedEvent:
    bot: str
    event: str
    data: Json


def replayable_events(lines: Iterable[Json]) -> Iterator[RecordedEvent]:
    """The events that can be dispatched again: all but those that start a session or contained a secret."""
    for line in lines:
        sent = line.get("sent")
        if not isinstance(sent, dict) or sent.get("op") != 0 or sent.get("t") in _SESSION_EVENTS:
            continue
        if line.get("bot") and isinstance(sent["d"], dict) and PLACEHOLDER not in json.dumps(sent["d"]):
            yield RecordedEvent(line["bot"], sent["t"], sent["d"])


class IdMapping:
    """Maps ids of the recording to ids of the replay."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}

    def __call__(self, data: Any) -> Any:
        """``data`` with the ids of the replay."""
        if data is None:
            return None
        return json.loads(_ID.sub(lambda match: self._ids.get(match[0], match[0]), json.dumps(data)))

    def learn(self, recorded: Any, current: Any) -> None:
        """Compare two responses to the same request: ids in the same place mean the same object."""
        if isinstance(recorded, dict) and isinstance(current, dict):
            for key in recorded.keys() & current.keys():
                self.learn(recorded[key], current[key])
        elif isinstance(recorded, list) and isinstance(current, list):
            for old, new in zip(recorded, current, strict=False):
                self.learn(old, new)
        elif isinstance(recorded, str) and isinstance(current, str):
            self._learn_id(recorded, current)

    def _learn_id(self, recorded: str, current: str) -> None:
        if _ID.fullmatch(recorded) and _ID.fullmatch(current):
            self._ids[recorded] = current
