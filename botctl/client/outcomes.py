"""What a client gets: events, gaps, states; and the errors that it raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botctl.core.contracts.event_log import Position


class RequestFailed(Exception):
    """The server refused a request. ``code``: as in docs/realtime.md. ``temporary``: it may succeed later."""

    def __init__(self, code: str, sentence: str, *, temporary: bool, retry_after_s: float | None) -> None:
        super().__init__(sentence)
        self.code = code
        self.temporary = temporary
        self.retry_after_s = retry_after_s


class ConnectionEnded(Exception):
    """The client does not connect again. ``code``: the server's close code; None if it could not be reached."""

    def __init__(self, sentence: str, code: int | None = None) -> None:
        super().__init__(sentence)
        self.code = code


class OutcomeUnknown(Exception):
    """The connection broke after an action was sent, so it is not known whether it was done."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One event. ``envelope``: ``{v, id, type, at, bot, proc, guild?, data}``, see docs/events.md."""

    topic: str
    position: Position
    envelope: Mapping[str, Any]

    @property
    def type(self) -> str:
        return str(self.envelope["type"])

    @property
    def data(self) -> Mapping[str, Any]:
        return self.envelope["data"]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class EventGap:
    """Events of ``topic`` are lost: those before ``position`` that the client did not get."""

    topic: str
    position: Position


@dataclass(frozen=True, slots=True)
class WatchedState:
    """A state as it is now: a value for each key. ``stale``: the server could not read it lately."""

    items: Mapping[str, Mapping[str, Any]]
    stale: bool = False
