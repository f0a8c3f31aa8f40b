"""Decisions of the pipeline as pure functions: who has which role, what is refused, what an exception comes to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import disnake
from disnake.ext import commands

from botctl.core.config.settings import RoleSettings
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Invocation, Outcome, Result
from botctl.core.contracts.throttle import Limit, Verdict
from botctl.core.errors import UsageError

UNKNOWN_INTERACTION: Final = 10062
"""Discord: Opcodes and Status Codes > JSON. It waits 3 s for a first answer."""
_NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class CommandPolicy:
    """What holds for one command: its limits, and the botctl roles of which one is needed (none: everybody)."""

    limits: tuple[Limit, ...] = ()
    roles: tuple[str, ...] = ()


class RoleBook:
    """botctl's roles, granted to Discord users and Discord roles by ``[roles]`` in the settings."""

    def __init__(self, roles: Mapping[str, RoleSettings]) -> None:
        self._by_user = _turned((int(user), name) for name, role in roles.items() for user in role.users)
        self._by_role = _turned((int(granted), name) for name, role in roles.items() for granted in role.roles)

    def of(self, user: int, has_role: Callable[[int], object] | None) -> frozenset[str]:
        """The roles of ``user``. ``has_role`` asks for a Discord role by id; None in a direct message."""
        found = self._by_user.get(user, _NOBODY)
        if has_role is not None:
            for role, names in self._by_role.items():
                if not names <= found and has_role(role):
                    found |= names
        return found


def _turned(pairs: Iterable[tuple[int, str]]) -> dict[int, frozenset[str]]:
    turned: dict[int, frozenset[str]] = {}
    for key, name in pairs:
        turned[key] = turned.get(key, _NOBODY) | {name}
    return turned


@dataclass(frozen=True, slots=True)
class Say:
    """What to tell the person: a key of `words.WORDS` and what to fill in."""

    key: str
    values: Mapping[str, object] = field(default_factory=dict)


class Denied(commands.CheckFailure):
    """The person may not. A check failure like any other, so that a cog's own handlers understand it."""

    def __init__(self, reason: str, say: Say) -> None:
        super().__init__(reason)
        self.reason = reason
        self.say = say


class Throttled(commands.CommandOnCooldown):
    """The person comes too often. disnake's own cooldown error, so that a cog's own handlers understand it."""

    def __init__(self, verdict: Verdict) -> None:
        limit = verdict.limit
        cooldown = commands.Cooldown(limit.count, limit.period_s) if limit else commands.Cooldown(1, 1.0)
        super().__init__(cooldown, verdict.retry_after_s, commands.BucketType.default)
        self.policy = str(limit) if limit else "throttle"


def refusal(invocation: Invocation, policy: CommandPolicy, settings: GuildSettings) -> Denied | None:
    """Why ``invocation`` is not allowed, or None. The throttle is asked only after this."""
    command = invocation.name.partition(":")[0]
    if not settings.allows(command.lower()):
        return Denied("disabled in this guild", Say("disabled", {"name": command}))
    if policy.roles and invocation.actor.roles.isdisjoint(policy.roles):
        names = " or ".join(policy.roles)
        return Denied(f"needs role {names}", Say("role", {"roles": " / ".join(policy.roles)}))
    return None


@dataclass(frozen=True, slots=True)
class Disposition:
    """What an exception comes to. ``error`` is set when it belongs into the log: something is broken."""

    result: Result
    reason: str = ""
    say: Say | None = None
    error: BaseException | None = None
    retry_after_s: float | None = None
    policy: str | None = None

    def outcome(self, took_ms: float, error_id: str | None) -> Outcome:
        """The outcome that follows."""
        return Outcome(
            result=self.result,
            took_ms=took_ms,
            reason=self.reason,
            error_id=error_id,
            error_type=type(self.error).__name__ if self.error else None,
            retry_after_s=self.retry_after_s,
            policy=self.policy,
        )


FINE: Final = Disposition(Result.OK)
CANCELLED: Final = Disposition(Result.CANCELLED, "stopped before it was done", Say("cancelled"))
UNKNOWN: Final = Disposition(Result.INVALID, "no such command", Say("unknown"))
STALE: Final = Disposition(Result.INVALID, "nobody handles it", Say("stale"))
EXPIRED: Final = Disposition(Result.CANCELLED, "expired before it was answered")
DRAINING: Final = Disposition(Result.DENIED, "restarting", Say("restarting"))


def classify(error: BaseException) -> Disposition:  # noqa: PLR0911  a table
    """What ``error`` comes to, whoever raised it: a check, a converter, a hook or the handler."""
    match error:
        case Denied():
            return Disposition(Result.DENIED, error.reason, error.say)
        case commands.CommandOnCooldown():
            say = Say("throttled", {"seconds": max(1, math.ceil(error.retry_after))})
            policy = error.policy if isinstance(error, Throttled) else f"{error.cooldown.rate}/{error.cooldown.per:g}s"
            return Disposition(Result.THROTTLED, policy, say, retry_after_s=error.retry_after, policy=policy)
        case commands.MaxConcurrencyReached():
            return Disposition(Result.THROTTLED, str(error), Say("busy"), policy="max concurrency")
        case commands.CheckFailure():
            return Disposition(Result.DENIED, str(error) or type(error).__name__, _denied(error))
        case commands.UserInputError() | UsageError():
            return _invalid(str(error) or type(error).__name__)
        case commands.ConversionError(original=ValueError() as original):
            return _invalid(str(original))
        case commands.ConversionError(original=inner) | commands.CommandInvokeError(original=inner):
            return classify(inner)
        case asyncio.CancelledError():
            return CANCELLED
        case disnake.DiscordException() if expired(error):
            return EXPIRED
        case _:
            return Disposition(Result.FAILED, type(error).__name__, error=error)


def should_tell(*, answered: bool, was_answered: bool, author_notified: bool) -> bool:
    """Whether the bot tells the person what went wrong: that they are throttled, for example.

    ``answered``: there is an answer now. ``was_answered``: there was one before it went wrong, which cannot explain it.
    An answer that came since is the author's. ``author_notified``: the author's handler explains, or chooses not to.
    """
    return not answered or (was_answered and not author_notified)


def expired(error: disnake.DiscordException) -> bool:
    """Whether Discord no longer waits for the first answer that ``error`` stands for."""
    return isinstance(error, disnake.InteractionTimedOut) or getattr(error, "code", None) == UNKNOWN_INTERACTION


def _invalid(detail: str) -> Disposition:
    return Disposition(Result.INVALID, detail, Say("invalid", {"detail": detail}))


def _denied(error: commands.CheckFailure) -> Say:
    """The sentence of disnake where it is meant for people; a bare CheckFailure only names a function."""
    if type(error) in (commands.CheckFailure, commands.CheckAnyFailure) or not str(error):
        return Say("denied")
    return Say("plain", {"detail": str(error)})
