"""Encoding the gateway's payloads and validating those of clients (Discord: Gateway Events)."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model.compact_json import dumps, loads

Json = dict[str, Any]
_STATUSES = frozenset({"online", "idle", "dnd", "invisible", "offline"})
LARGE_THRESHOLD_MIN, _LARGE_THRESHOLD_MAX = 50, 250


def encode(op: int, d: Any) -> str:
    """A payload that is not an event: opcode and data."""
    return dumps({"op": op, "d": d, "s": None, "t": None})


def parse(raw: bytes) -> Json | None:
    """The payload in ``raw``, or None when it is invalid."""
    try:
        payload = loads(raw)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) and type(payload.get("op")) is int else None


def bot_token(data: Json) -> str:
    """The token in an IDENTIFY or RESUME, without the prefix "Bot "."""
    return str(data.get("token") or "").removeprefix("Bot ")


def clamp_large_threshold(value: object) -> int:
    """``large_threshold`` of IDENTIFY, 50 to 250: for a guild with more members, only those online are sent."""
    return min(max(value, LARGE_THRESHOLD_MIN), _LARGE_THRESHOLD_MAX) if type(value) is int else LARGE_THRESHOLD_MIN


def is_presence(data: object) -> bool:
    """Whether ``data`` is valid for opcode 3 (Discord: Gateway Events > Update Presence)."""
    if not isinstance(data, dict) or not isinstance(data.get("status"), str) or data["status"] not in _STATUSES:
        return False
    activities = data.get("activities")
    return isinstance(activities, list) and all(
        isinstance(activity, dict) and isinstance(activity.get("name"), str) and type(activity.get("type")) is int
        for activity in activities
    )


def parse_shard(value: object) -> tuple[int, int] | None:
    """``(number, count)``; (0, 1) when the client does not shard, None when it is invalid."""
    if value is None:
        return 0, 1
    match value:
        case [int(number), int(count)] if 0 <= number < count:
            return number, count
    return None
