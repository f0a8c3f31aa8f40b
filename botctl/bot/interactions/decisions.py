"""Decisions of the pipeline: access, and the meaning of an exception."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import disnake
from disnake.ext import commands

from botctl.bot.commands.policy import CommandPolicy
from botctl.core.contracts import invocation
from botctl.core.contracts.access import AccessControl, AnyRole, user_requester
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Invocation, Outcome, Result, command_of
from botctl.core.contracts.throttle import Verdict
from botctl.core.errors import UsageError

UNKNOWN_INTERACTION: Final = 10062
"""Discord's error code when an interaction got no answer within 3 s: Opcodes and Status Codes > JSON."""


@dataclass(frozen=True, slots=True)
class LocalizedMessage:
    """A message for the user: a key of `translations.MESSAGES`, and the values of its placeholders."""

    key: str
    values: Mapping[str, object] = field(default_factory=dict)


class Denied(commands.CheckFailure):
    """The user may not use the command. It is a CheckFailure, so that a cog's own error handlers know it."""

    def __init__(self, reason: str, message: LocalizedMessage) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


class Throttled(commands.CommandOnCooldown):
    """The user is over a limit. It is disnake's cooldown error, so that a cog's own error handlers know it."""

    def __init__(self, verdict: Verdict) -> None:
        limit = verdict.limit
        cooldown = commands.Cooldown(limit.count, limit.period_s) if limit else commands.Cooldown(1, 1.0)
        super().__init__(cooldown, verdict.retry_after_s, commands.BucketType.default)
        self.policy = str(limit) if limit else "throttle"


class TooLate(commands.CheckFailure):
    """Discord no longer waits for an answer. It is a CheckFailure, so that a cog's own error handlers know it."""


def check_access(
    invocation: Invocation, policy: CommandPolicy, settings: GuildSettings, access: AccessControl
) -> Denied | None:
    """Return why ``invocation`` is not allowed, or None. It does not check the limits."""
    command = command_of(invocation.kind, invocation.name)
    if command is not None and not settings.allows(*command):
        return Denied("disabled in this guild", LocalizedMessage("disabled", {"name": command[1]}))
    if not policy.roles or access.decide(user_requester(invocation), AnyRole(policy.roles), invocation.guild).allowed:
        return None
    names = " or ".join(policy.roles)
    return Denied(f"needs role {names}", LocalizedMessage("role", {"roles": " / ".join(policy.roles)}))


@dataclass(frozen=True, slots=True)
class Disposition:
    """How an invocation ended: what its exception, or a return without one, means for the user, the log and events."""

    result: Result
    reason: str = ""  # for the audit log and events
    message: LocalizedMessage | None = None  # for the user
    error: BaseException | None = None  # if it must be logged
    retry_after_s: float | None = None  # wait before the user may try again
    policy: str | None = None  # the limit that was reached

    def outcome(self, took_ms: float, error_id: str | None) -> Outcome:
        return Outcome(
            result=self.result,
            took_ms=took_ms,
            reason=self.reason,
            error_id=error_id,
            error_type=type(self.error).__name__ if self.error else None,
            retry_after_s=self.retry_after_s,
            policy=self.policy,
        )


SUCCESS: Final = Disposition(Result.OK)
CANCELLED: Final = Disposition(Result.CANCELLED, "stopped before it was done", LocalizedMessage("cancelled"))
UNKNOWN: Final = Disposition(Result.INVALID, "no such command", LocalizedMessage("unknown"))
STALE: Final = Disposition(Result.INVALID, "no handler", LocalizedMessage("stale"))
EXPIRED: Final = Disposition(Result.CANCELLED, invocation.EXPIRED)
TOO_LATE: Final = Disposition(Result.DENIED, invocation.TOO_LATE)
DRAINING: Final = Disposition(Result.DENIED, "restarting", LocalizedMessage("restarting"))


def classify(error: BaseException) -> Disposition:  # noqa: C901, PLR0911  a table
    """Return what ``error`` means, wherever it was raised: in a check, a converter, a hook or the handler."""
    match error:
        case TooLate():
            return TOO_LATE
        case Denied():
            return Disposition(Result.DENIED, error.reason, error.message)
        case commands.CommandOnCooldown():
            message = LocalizedMessage("throttled", {"seconds": max(1, math.ceil(error.retry_after))})
            policy = error.policy if isinstance(error, Throttled) else f"{error.cooldown.rate}/{error.cooldown.per:g}s"
            return Disposition(Result.THROTTLED, policy, message, retry_after_s=error.retry_after, policy=policy)
        case commands.MaxConcurrencyReached():
            return Disposition(Result.THROTTLED, str(error), LocalizedMessage("busy"), policy="max concurrency")
        case commands.CheckFailure():
            return Disposition(Result.DENIED, str(error) or type(error).__name__, _denial_message(error))
        case commands.UserInputError() | UsageError():
            return _invalid_input(str(error) or type(error).__name__)
        case commands.ConversionError(original=ValueError() as original):
            return _invalid_input(str(original))
        case commands.ConversionError(original=inner) | commands.CommandInvokeError(original=inner):
            return classify(inner)
        case asyncio.CancelledError():
            return CANCELLED
        case disnake.DiscordException() if is_expired(error):
            return EXPIRED
        case _:
            return Disposition(Result.FAILED, type(error).__name__, error=error)


def should_notify_user(*, answered: bool, was_answered: bool, author_notified: bool) -> bool:
    """Whether the bot itself sends the error message.

    ``answered``: the interaction has an answer. ``was_answered``: that answer was sent before the
    error, so it does not mention it. ``author_notified``: an error handler of the author got the error and decides.
    """
    return not answered or (was_answered and not author_notified)


def is_expired(error: disnake.DiscordException) -> bool:
    """Whether ``error`` says that Discord no longer waits for a first answer."""
    return isinstance(error, disnake.InteractionTimedOut) or getattr(error, "code", None) == UNKNOWN_INTERACTION


def _invalid_input(detail: str) -> Disposition:
    """Return the disposition when the user entered an invalid value; ``detail`` says why."""
    return Disposition(Result.INVALID, detail, LocalizedMessage("invalid", {"detail": detail}))


def _denial_message(error: commands.CheckFailure) -> LocalizedMessage:
    """Return disnake's sentence if it is written for users. That of a plain CheckFailure only names a function."""
    if type(error) in (commands.CheckFailure, commands.CheckAnyFailure) or not str(error):
        return LocalizedMessage("denied")
    return LocalizedMessage("disnake", {"detail": str(error)})
