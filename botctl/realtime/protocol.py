"""The messages between clients and the realtime server, and its close codes. Pure functions: no I/O.

Messages are JSON: ``{"type", "id"?, ...}``. A reply has the id of its request, a push has none. docs/realtime.md is the
reference for authors of clients.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botctl.core.contracts.event_log import Entry, Position, is_topic
from botctl.core.redact import redact_values

VERSION: Final = 1
MAX_ID: Final = 64  # characters
_MAX_OFFSET: Final = 2**53 - 1  # the largest integer that JavaScript holds exactly
_MAX_EPOCH: Final = 64

RequestId = str | int | None


class CloseReason(enum.IntEnum):
    """Why the server closes a connection. Below 4500 the client may reconnect; else it must first correct the cause."""

    SHUTDOWN = 4001
    UNAVAILABLE = 4003  # the event log or the keys cannot be read
    ACCESS_CHANGED = 4007  # the caller lost a right that the connection uses
    SLOW = 4008  # the client takes no data
    SILENT = 4012  # the client sends nothing, not even pongs
    BAD_MESSAGE = 4500
    BAD_KEY = 4501
    NOT_AUTHENTICATED = 4502
    TOO_MANY_CONNECTIONS = 4504
    FLOOD = 4505  # more frames or bytes than a client needs, of any kind
    KEY_ENDED = 4507  # the key or session was revoked, expired or replaced during the connection

    @property
    def reconnect(self) -> bool:
        """Whether the client may reconnect without a change."""
        return self < CloseReason.BAD_MESSAGE

    @property
    def phrase(self) -> str:
        """The text of the close frame."""
        return self.name.lower().replace("_", " ")


class BadMessage(Exception):
    """An invalid message: the text says why. ``request_id`` is its id, if it has a valid one."""

    def __init__(self, sentence: str, request_id: RequestId = None) -> None:
        super().__init__(sentence)
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class Auth:
    """Authenticate, with an API key or the ticket of a signed-in person. This is the first message of a connection."""

    id: RequestId
    key: str | None = None
    ticket: str | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Send the events of ``topics``."""

    id: RequestId
    topics: tuple[str, ...]
    after: Mapping[str, Position]  # the last position that the client has; stored events after it are sent first


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Send no more events of ``topics``."""

    id: RequestId
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """Send the tables of ``states``, and then their changes."""

    id: RequestId
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Send no more changes of ``states``."""

    id: RequestId
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Do:
    """Do ``action``. What its arguments and the reason may be is checked by `actions`."""

    id: RequestId
    action: str
    args: Mapping[str, Any]
    reason: str  # empty if it is missing


@dataclass(frozen=True, slots=True)
class ListActions:
    """Send the actions that the client may do."""

    id: RequestId


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with a pong."""

    id: RequestId


Request = Auth | Subscribe | Unsubscribe | Watch | Unwatch | Do | ListActions | Ping


def parse_request(text: str | bytes) -> Request:
    """Return the request in a client's message. Raises BadMessage."""
    try:
        message = _parse_json(text)
    except (ValueError, RecursionError):
        raise BadMessage("a message is a JSON object") from None
    if not isinstance(message, dict):
        raise BadMessage("a message is a JSON object")
    request_id = message.get("id")
    if not (request_id is None or _is_id(request_id)):
        raise BadMessage(f"an id is a whole number, or a text of up to {MAX_ID} characters")
    kind = message.get("type")
    parse = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parse is None:
        *others, last = _PARSERS
        raise BadMessage(f"a type is {', '.join(others)} or {last}", request_id)
    return parse(message, request_id)


def _parse_json(text: str | bytes) -> Any:
    """Parse JSON, strictly: no NaN, no name twice, no text that UTF-8 cannot hold. Raises ValueError, RecursionError.

    Python's parser takes half of a surrogate pair, which nothing behind it could write.
    """
    decoded = text if isinstance(text, str) else str(text, "utf-8")
    message = json.loads(decoded, parse_constant=_refuse_constant, object_pairs_hook=_unique_names)
    if "\\u" in decoded or not decoded.isascii():
        json.dumps(message, ensure_ascii=False).encode()
    return message


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name is there twice")
    return names


def encode_push(kind: str, **fields: Any) -> bytes:
    """Return a push as JSON, without secrets."""
    return redact_values(json.dumps({"type": kind} | fields, separators=(",", ":"))).encode()


def encode_reply(request_id: RequestId, kind: str, **fields: Any) -> bytes:
    return encode_push(kind, **({} if request_id is None else {"id": request_id}), **fields)


def encode_error(request_id: RequestId, code: str, sentence: str, *, temporary: bool = False, **fields: Any) -> bytes:
    """Return the error reply to a request. ``temporary``: the same request may succeed later."""
    return encode_reply(request_id, "error", code=code, message=sentence, temporary=temporary, **fields)


def position_fields(topic: str, position: Position) -> dict[str, Any]:
    """Return a position of ``topic`` as message fields."""
    return {"topic": topic, "epoch": position.epoch, "offset": position.offset}


def encode_events(topic: str, epoch: str, entries: Iterable[Entry]) -> list[bytes]:
    """Return one push for each of ``entries``. Their data is JSON already, so it is not parsed."""
    start = json.dumps({"type": "event", "topic": topic, "epoch": epoch}, separators=(",", ":"))[:-1].encode()
    return [b'%b,"offset":%d,"event":%b}' % (start, entry.offset, entry.data) for entry in entries]


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_OFFSET


def _require_text(message: Mapping[str, Any], name: str, request_id: RequestId) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise BadMessage(f"{name} is missing, or is not a text", request_id)
    return value


def _parse_auth(message: Mapping[str, Any], request_id: RequestId) -> Auth:
    if "ticket" not in message:
        return Auth(request_id, key=_require_text(message, "key", request_id))
    if "key" in message:
        raise BadMessage("auth has a key or a ticket, not both", request_id)
    return Auth(request_id, ticket=_require_text(message, "ticket", request_id))


def _parse_subscribe(message: Mapping[str, Any], request_id: RequestId) -> Subscribe:
    topics = _parse_topics(message, request_id)
    return Subscribe(request_id, topics, _parse_after(message, topics, request_id))


def _parse_states(message: Mapping[str, Any], request_id: RequestId) -> tuple[str, ...]:
    states = message.get("states")
    if not isinstance(states, list) or not states or not all(isinstance(name, str) for name in states):
        raise BadMessage("states is a list of names of states", request_id)
    return tuple(dict.fromkeys(states))


def _parse_do(message: Mapping[str, Any], request_id: RequestId) -> Do:
    args, reason = message.get("args") or {}, message.get("reason") or ""
    if not isinstance(args, dict) or not isinstance(reason, str):
        raise BadMessage("args is an object, and reason is a text", request_id)
    return Do(request_id, _require_text(message, "action", request_id), args, reason)


def _parse_topics(message: Mapping[str, Any], request_id: RequestId) -> tuple[str, ...]:
    topics = message.get("topics")
    if not isinstance(topics, list) or not topics or not all(isinstance(t, str) and is_topic(t) for t in topics):
        raise BadMessage("topics is a list of topic names", request_id)
    return tuple(dict.fromkeys(topics))


def _parse_after(message: Mapping[str, Any], topics: tuple[str, ...], request_id: RequestId) -> dict[str, Position]:
    after = message.get("after") or {}
    if not isinstance(after, dict):
        raise BadMessage("after is an object with a position per topic", request_id)
    if unknown := [topic for topic in after if topic not in topics]:
        raise BadMessage(f"after names {unknown[0][:MAX_ID]!r}, which is not among the topics", request_id)
    return {topic: _parse_position(value, request_id) for topic, value in after.items()}


def _parse_position(value: object, request_id: RequestId) -> Position:
    match value:
        case {"epoch": str(epoch), "offset": int(offset)} if not isinstance(offset, bool):
            if len(epoch) <= _MAX_EPOCH and 0 <= offset <= _MAX_OFFSET:
                return Position(epoch, offset)
    raise BadMessage('a position is {"epoch": text, "offset": whole number}', request_id)


_PARSERS: Final[Mapping[str, Callable[[Mapping[str, Any], RequestId], Request]]] = {
    "auth": _parse_auth,
    "subscribe": _parse_subscribe,
    "unsubscribe": lambda message, request_id: Unsubscribe(request_id, _parse_topics(message, request_id)),
    "watch": lambda message, request_id: Watch(request_id, _parse_states(message, request_id)),
    "unwatch": lambda message, request_id: Unwatch(request_id, _parse_states(message, request_id)),
    "do": _parse_do,
    "actions": lambda _, request_id: ListActions(request_id),
    "ping": lambda _, request_id: Ping(request_id),
}
"""What makes a request of a message, by its type."""
