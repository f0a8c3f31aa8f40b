"""The pipeline's decisions, which are pure functions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from disnake.ext import commands

from botctl.auth.access_control import CurrentAccess
from botctl.auth.settings_grants import settings_grants
from botctl.bot.interactions.decisions import (
    CommandPolicy,
    Denied,
    LocalizedMessage,
    Throttled,
    check_access,
    classify,
    should_notify_user,
)
from botctl.core.clock import SystemClock
from botctl.core.config.settings import RoleSettings
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Actor, Invocation, Kind
from botctl.core.contracts.throttle import Verdict, parse
from botctl.core.errors import UsageError

ACCESS = CurrentAccess(
    settings_grants(
        {
            "admin": RoleSettings(users=("100000000000000001",)),
            "helper": RoleSettings(roles=("200000000000000001",)),
        }
    ),
    SystemClock(),
)


def call(name: str = "ops status", user: str = "1", *roles: str, kind: Kind = Kind.SLASH) -> Invocation:
    actor = Actor(user, "ann", roles.__contains__)
    return Invocation("1", kind, name, actor, datetime(2026, 1, 1, tzinfo=UTC), 0.0, guild="300000000000000001")


def test_user_needs_one_of_the_roles():
    policy = CommandPolicy(roles=("admin", "helper"))
    for allowed in (call("x", "100000000000000001"), call("x", "1", "200000000000000001")):
        assert check_access(allowed, policy, GuildSettings(), ACCESS) is None
    assert check_access(call("x"), CommandPolicy(), GuildSettings(), ACCESS) is None
    denied = check_access(call("x", "1", "200000000000000002"), policy, GuildSettings(), ACCESS)
    assert denied is not None
    assert denied.reason == "needs role admin or helper"


@pytest.mark.parametrize(
    ("disabled", "kind", "name", "denied"),
    [
        ("ops", Kind.SLASH, "ops status", True),
        ("ops status", Kind.SLASH, "ops status", True),
        ("ops", Kind.SLASH, "opsy", False),
        ("status", Kind.SLASH, "ops status", False),
        ("poll", Kind.COMPONENT, "poll:vote", True),
        ("poll", Kind.MODAL, "poll:?", True),
        ("poll", Kind.COMPONENT, "poll:*", True),
        ("poll", Kind.COMPONENT, "cog/poll:*", False),
        ("message", Kind.COMPONENT, "message", False),
        ("who is", Kind.USER, "Who is", True),
        ("who", Kind.USER, "Who is", False),
        ("is", Kind.USER, "Who is", False),
        ("user/ban", Kind.USER, "Ban", True),
        ("user/ban", Kind.COMPONENT, "user/Ban:sure", True),
        ("user/ban", Kind.SLASH, "ban", False),
        ("user/ban", Kind.MESSAGE, "Ban", False),
        ("slash/ops", Kind.SLASH, "ops status", True),
        ("slash/ban", Kind.USER, "ban", False),
    ],
)
def test_disabled_command_disables_its_sub_commands_and_components(disabled: str, kind: Kind, name: str, denied: bool):
    settings = GuildSettings(disabled=frozenset({disabled}))
    assert bool(check_access(call(name, kind=kind), CommandPolicy(), settings, ACCESS)) is denied


LIMIT = parse("5/10s per user")[0]


@pytest.mark.parametrize(
    ("error", "result", "message"),
    [
        (Denied("needs role x", LocalizedMessage("role", {"roles": "x"})), "denied", "role"),
        (Throttled(Verdict(False, 3.2, LIMIT)), "throttled", "throttled"),
        (
            commands.CommandOnCooldown(commands.Cooldown(1, 5.0), 2.0, commands.BucketType.user),
            "throttled",
            "throttled",
        ),
        (commands.MaxConcurrencyReached(1, commands.BucketType.user), "throttled", "busy"),
        (commands.CheckFailure("internal name"), "denied", "denied"),
        (commands.MissingPermissions(["ban_members"]), "denied", "disnake"),
        (commands.NoPrivateMessage(), "denied", "disnake"),
        (commands.BadArgument("no such member"), "invalid", "invalid"),
        (UsageError("two sides at least"), "invalid", "invalid"),
        (commands.CommandInvokeError(UsageError("two sides at least")), "invalid", "invalid"),
        (commands.ConversionError(int, ValueError("not a number")), "invalid", "invalid"),
        (commands.ConversionError(int, ZeroDivisionError()), "failed", None),
        (commands.CommandInvokeError(commands.CommandInvokeError(KeyError("x"))), "failed", None),
        (commands.CommandError("odd"), "failed", None),
        (RuntimeError("odd"), "failed", None),
        (asyncio.CancelledError(), "cancelled", "cancelled"),
    ],
)
def test_exceptions_are_classified_by_result_and_message(error: BaseException, result: str, message: str | None):
    disposition = classify(error)
    assert disposition.result == result
    assert (disposition.message.key if disposition.message else None) == message
    assert (disposition.error is not None) is (result == "failed")


def test_logged_error_is_unwrapped():
    inner = KeyError("x")
    assert classify(commands.CommandInvokeError(inner)).error is inner


def test_throttled_seconds_are_rounded_up():
    disposition = classify(Throttled(Verdict(False, 3.2, LIMIT)))
    assert disposition.policy == "5/10s per user"
    assert disposition.retry_after_s == 3.2
    assert disposition.message is not None
    assert disposition.message.values["seconds"] == 4


@pytest.mark.parametrize(
    ("answered", "was_answered", "author_notified", "notified"),
    [
        (False, False, False, True),
        (False, False, True, True),  # the author's handler said nothing
        (True, False, False, False),  # it said something
        (True, False, True, False),
        (True, True, False, True),  # the answer is older than the error
        (True, True, True, False),
    ],
)
def test_user_is_notified_unless_the_answer_explains_the_error(
    *, answered: bool, was_answered: bool, author_notified: bool, notified: bool
):
    assert should_notify_user(answered=answered, was_answered=was_answered, author_notified=author_notified) is notified
