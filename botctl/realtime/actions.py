"""The actions that clients may do: what each needs and takes, and who did what in the audit log.

Each action that is well-formed has one audit entry. The feature that changes something writes it; what is denied,
fails or changes nothing is recorded here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from botctl.core.clock import Clock
from botctl.core.config.value_types import DISCORD_ID
from botctl.core.contracts.access import AccessControl, Holder, HolderType
from botctl.core.contracts.api_keys import ApiKeys
from botctl.core.contracts.audit_entry import MAX_REASON, AuditOutcome, Change, Principal, Target, make_entry
from botctl.core.contracts.callers import Caller, guilds_with
from botctl.core.contracts.grants import GrantStore
from botctl.core.contracts.guild_settings import plain
from botctl.core.contracts.jobs import JobControl
from botctl.core.contracts.permissions import (
    GRANTS_ADMIN,
    GUILD_SETTINGS_WRITE,
    JOBS_RUN,
    JOBS_WRITE,
    KEYS_ADMIN,
    RATELIMIT_WRITE,
)
from botctl.core.contracts.protocols import Auditor, GuildSettingsStore, LimitControl
from botctl.core.errors import ANYTHING, STORE_FAULTS, BotctlError, Held, IntegrityError, NotFound, UsageError
from botctl.core.escape import safe
from botctl.realtime.protocol import Do

_MAX_VALUE: Final = 1000  # characters of an argument
_UNKNOWN_END: Final = "a store does not answer, so it is not known whether this was done; look before you try again"


class ActionRefused(Exception):
    """An action was not done. ``code``: that of the error message; ``temporary``: the same may succeed later."""

    def __init__(self, code: str, sentence: str, *, temporary: bool = False) -> None:
        super().__init__(sentence)
        self.code = code
        self.temporary = temporary


@dataclass(frozen=True, slots=True)
class ActionControls:
    """The features that carry actions out."""

    jobs: JobControl
    limits: LimitControl
    keys: ApiKeys
    grants: GrantStore
    guilds: GuildSettingsStore


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done: the arguments, who wants it and why."""

    args: Mapping[str, str]
    actor: Principal
    reason: str


@dataclass(frozen=True, slots=True)
class Performed:
    """What was done. ``recorded``: the feature has written the audit entry, since it changed something."""

    result: Mapping[str, Any]
    recorded: bool = True


@dataclass(frozen=True, slots=True)
class ClientAction:
    """An action. ``entry``: its name in the audit log. ``in_guild``: it concerns the guild of its argument ``guild``.

    ``target``: the type of what it changes, which the first argument names.
    """

    permission: str
    entry: str
    target: str
    required: tuple[str, ...]
    perform: Callable[[ActionControls, Order], Awaitable[Performed]]
    optional: tuple[str, ...] = ()
    in_guild: bool = False

    def target_of(self, args: Mapping[str, str]) -> Target:
        return Target(self.target, args[self.required[0]])

    @property
    def arguments(self) -> list[dict[str, object]]:
        """As the reply to ``actions`` lists them."""
        return [{"name": name, "required": name in self.required} for name in (*self.required, *self.optional)]


async def _run_job(controls: ActionControls, order: Order) -> Performed:
    name = order.args["job"]
    run_id = await controls.jobs.request_run(name, actor=order.actor, reason=order.reason)
    return Performed({"job": name, "run": run_id})


async def _pause_job(controls: ActionControls, order: Order) -> Performed:
    return await _set_paused(controls, order, paused=True)


async def _resume_job(controls: ActionControls, order: Order) -> Performed:
    return await _set_paused(controls, order, paused=False)


async def _set_paused(controls: ActionControls, order: Order, *, paused: bool) -> Performed:
    name = order.args["job"]
    changed = await controls.jobs.set_paused(name, paused=paused, actor=order.actor, reason=order.reason)
    return Performed({"job": name, "paused": paused, "changed": changed}, recorded=changed)


async def _reset_limits(controls: ActionControls, order: Order) -> Performed:
    subject, policy = order.args["subject"], order.args.get("policy")
    policies = await controls.limits.reset(subject, policy, actor=order.actor, reason=order.reason)
    return Performed({"subject": subject, "reset": len(policies), "policies": sorted(set(policies))})


async def _revoke_key(controls: ActionControls, order: Order) -> Performed:
    key_id = order.args["key"]
    try:
        key, revoked = await controls.keys.revoke(key_id, actor=order.actor, reason=order.reason)
    except STORE_FAULTS:
        raise
    except IntegrityError:  # it was not written by this bot, and is deleted now
        return Performed({"key": key_id, "changed": True})
    return Performed({"key": key.id, "changed": revoked}, recorded=revoked)


async def _revoke_grant(controls: ActionControls, order: Order) -> Performed:
    role, guild = order.args["role"], order.args.get("guild")
    kind, _, holder_id = order.args["holder"].partition(":")
    if kind not in set(HolderType) or not holder_id:
        raise UsageError("a holder is user:ID, role:ID, key:ID or job:NAME")
    holder = Holder(HolderType(kind), holder_id)
    if not await controls.grants.revoke(role, holder, guild=guild, reason=order.reason, actor=order.actor):
        where = f" in the guild {guild}" if guild else ""
        raise NotFound(f"{holder} was not granted {role!r}{where}, or the settings grant it")
    return Performed({"role": role, "holder": str(holder), "guild": guild})


async def _set_guild_setting(controls: ActionControls, order: Order) -> Performed:
    guild = order.args["guild"]
    if not DISCORD_ID.matches(guild):
        raise UsageError(f"{guild[:40]!r} is not a guild; its id is {DISCORD_ID.description}")
    change = {order.args["setting"]: order.args["value"]}
    settings, changed = await controls.guilds.change(guild, change, actor=order.actor, reason=order.reason)
    return Performed({"guild": guild, "changed": changed, "settings": plain(settings)}, recorded=changed)


ACTIONS: Final[Mapping[str, ClientAction]] = MappingProxyType(
    {
        "jobs.run": ClientAction(JOBS_RUN, "job.request", "job", ("job",), _run_job),
        "jobs.pause": ClientAction(JOBS_WRITE, "job.pause", "job", ("job",), _pause_job),
        "jobs.resume": ClientAction(JOBS_WRITE, "job.resume", "job", ("job",), _resume_job),
        "limits.reset": ClientAction(
            RATELIMIT_WRITE, "ratelimit.reset", "subject", ("subject",), _reset_limits, ("policy",)
        ),
        "keys.revoke": ClientAction(KEYS_ADMIN, "key.revoke", "key", ("key",), _revoke_key),
        "grants.revoke": ClientAction(
            GRANTS_ADMIN, "role.revoke", "holder", ("holder", "role"), _revoke_grant, ("guild",)
        ),
        "guild-settings.set": ClientAction(
            GUILD_SETTINGS_WRITE,
            "guild.settings.set",
            "guild",
            ("guild", "setting", "value"),
            _set_guild_setting,
            in_guild=True,
        ),
    }
)
"""Every action, by its name."""


@dataclass(frozen=True, slots=True)
class Actions:
    """Offers and does actions for callers."""

    controls: ActionControls
    access: AccessControl
    auditor: Auditor
    clock: Clock

    def offered(self, caller: Caller) -> list[dict[str, object]]:
        """The actions that ``caller`` may do, for the bot or in some guild."""
        return [
            {"action": name, "permission": action.permission, "args": action.arguments}
            for name, action in ACTIONS.items()
            if self._may_somewhere(caller, action)
        ]

    async def do(self, caller: Caller, request: Do) -> Mapping[str, Any]:
        """Do what ``request`` asks for; returns the result. Raises ActionRefused."""
        action = _require(request.action)
        order = Order(_require_args(action, request), caller.principal(), _require_reason(request))
        guild = order.args["guild"] if action.in_guild else None
        if not self.access.decide(caller.requester(guild), action.permission, guild).allowed:
            where = f"in the guild {guild}" if guild else "for the bot"
            sentence = f"this needs the permission {action.permission} {where}"
            self._record(action, order, AuditOutcome.DENIED, sentence)
            raise ActionRefused("forbidden", sentence)
        return await self._perform(action, order)

    async def _perform(self, action: ClientAction, order: Order) -> Mapping[str, Any]:
        try:
            performed = await action.perform(self.controls, order)
        except STORE_FAULTS as error:
            self._record(action, order, AuditOutcome.UNKNOWN, str(error))
            raise ActionRefused("unavailable", _UNKNOWN_END, temporary=True) from error
        except BotctlError as error:
            self._record(action, order, AuditOutcome.ERROR, str(error))
            raise ActionRefused(_code(error), str(error), temporary=isinstance(error, Held)) from error
        except ANYTHING as error:
            interrupted = isinstance(error, asyncio.CancelledError)
            outcome = AuditOutcome.UNKNOWN if interrupted else AuditOutcome.ERROR
            self._record(action, order, outcome, "interrupted" if interrupted else type(error).__name__)
            raise
        if not performed.recorded:
            self._record(action, order, AuditOutcome.SUCCESS, "")
        return performed.result

    def _may_somewhere(self, caller: Caller, action: ClientAction) -> bool:
        guilds = guilds_with(self.access, caller, action.permission)
        return guilds is None or (action.in_guild and bool(guilds))

    def _record(self, action: ClientAction, order: Order, outcome: AuditOutcome, error: str) -> None:
        """Record an action that its feature has not recorded. ``error``: why it was not done; may be empty."""
        self.auditor.record(
            make_entry(
                action.entry,
                order.actor,
                at=self.clock.now(),
                iface="api",
                target=action.target_of(order.args),
                guild=order.args.get("guild"),
                outcome=outcome,
                reason=order.reason,
                changes=[Change("error", None, error)] if error else [],
            )
        )


def _require(name: str) -> ClientAction:
    if (action := ACTIONS.get(name)) is None:
        raise ActionRefused("bad request", f"there is no action {safe(name, 40)!r}; there are {', '.join(ACTIONS)}")
    return action


def _require_args(action: ClientAction, request: Do) -> Mapping[str, str]:
    """The arguments of ``request``. Raises ActionRefused if one is missing, unknown, or no text."""
    known = (*action.required, *action.optional)
    takes = f"{request.action} takes {', '.join(known)}"
    for name, value in request.args.items():
        if name not in known:
            raise ActionRefused("bad request", f"there is no argument {safe(name, 40)!r}; {takes}")
        if not isinstance(value, str) or len(value) > _MAX_VALUE or not (value and value.isprintable()):
            raise ActionRefused("bad request", f"{name} is not a text of 1 to {_MAX_VALUE} characters; {takes}")
    if missing := [name for name in action.required if name not in request.args]:
        raise ActionRefused("bad request", f"{missing[0]} is missing; {takes}")
    return dict(request.args)


def _require_reason(request: Do) -> str:
    if not (1 <= len(request.reason.strip()) <= MAX_REASON and request.reason.isprintable()):
        raise ActionRefused("bad request", f"reason is a text of 1 to {MAX_REASON} characters; it is audited")
    return request.reason.strip()


def _code(error: BotctlError) -> str:
    match error:
        case NotFound():
            return "not found"
        case UsageError():
            return "bad request"
        case Held():
            return "held"
    return "failed"
