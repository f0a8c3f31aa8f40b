"""The state, the status and the health of a service."""

from __future__ import annotations

import asyncio
import enum
from dataclasses import dataclass

from botctl.core.redact import redact


class ServiceState(enum.StrEnum):
    """The state of a service.

    ``DEGRADED``: it works with restrictions. ``RESTARTING``: one of its tasks ended and waits for its restart.
    ``FAILED``: it did not start, ended by itself, or could not be stopped. It stays in this state.
    """

    IDLE = "idle"  # not started yet
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def up(self) -> bool:
        """Whether the service can be used."""
        return self in (ServiceState.READY, ServiceState.DEGRADED, ServiceState.RESTARTING)


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The status of a service. ``started_in_s``: how long its start took. ``restarts``: of its tasks."""

    name: str
    state: ServiceState
    started_in_s: float | None
    detail: str
    restarts: int


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """The result of a ping. ``ok``: the service is READY, and its ping, if it has one, answered in time.

    ``hint``: what to do if it is not; empty where the ping does not say.
    """

    name: str
    ok: bool
    took_ms: float
    detail: str
    hint: str = ""


def unwrap_group(error: BaseException) -> BaseException:
    """``error``, or if it is an exception group with a single error (as from a TaskGroup), that error."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def describe_end(error: BaseException | None) -> str:
    """How a task ended: ``returned``, ``was cancelled``, or the error's type and text, without secrets."""
    if error is None:
        return "returned"
    if isinstance(error, asyncio.CancelledError):
        return "was cancelled"
    text = redact(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
