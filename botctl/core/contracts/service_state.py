"""The states of a service, and what the registry tells about it."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass


class ServiceState(enum.StrEnum):
    """Where a service is in its life.

    ``DEGRADED``: it serves, not as it should. ``RESTARTING``: one of its tasks ended and waits to be started again.
    ``FAILED``: it did not start, ended by itself, or could not be stopped; final.
    """

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def up(self) -> bool:
        """Whether others may use the service."""
        return self in (ServiceState.READY, ServiceState.DEGRADED, ServiceState.RESTARTING)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A service at one moment. ``started_in_s`` is None until it is ready; ``restarts`` counts those of its tasks."""

    name: str
    state: ServiceState
    started_in_s: float | None
    detail: str
    restarts: int


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """The answer of a service to a ping. ``ok``: it is READY, and its ping (where it has one) answered in time."""

    name: str
    ok: bool
    took_ms: float
    detail: str


def unwrap_group(error: BaseException) -> BaseException:
    """The one error inside a group of one, however deep: what a TaskGroup raises hides what went wrong."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def describe_end(error: BaseException | None) -> str:
    """How something ended, in words: ``returned``, ``was cancelled``, or the error's type and text."""
    if error is None:
        return "returned"
    if isinstance(error, asyncio.CancelledError):
        return "was cancelled"
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
