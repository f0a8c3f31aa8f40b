"""Decisions of the pipeline: pure, told from the outside."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from disnake.ext import commands

from botctl.bot.decisions import CommandPolicy, Denied, RoleBook, Say, Throttled, classify, refusal, should_tell
from botctl.core.config.settings import RoleSettings
from botctl.core.contracts.guild_settings import GuildSettings
from botctl.core.contracts.invocation import Actor, Invocation, Kind
from botctl.core.contracts.throttle import Verdict, parse
from botctl.core.errors import UsageError

BOOK = RoleBook(
    {
        "admin": RoleSettings(users=("100000000000000001",), roles=("200000000000000001",)),
        "helper": RoleSettings(roles=("200000000000000001", "200000000000000002")),
    }
)


def call(name: str = "ops status", *roles: str) -> Invocation:
    return Invocation("1", Kind.SLASH, name, Actor("1", "ann", frozenset(roles)), datetime(2026, 1, 1, tzinfo=UTC), 0.0)


@pytest.mark.parametrize(
    ("user", "held", "roles"),
    [
        (100000000000000001, set(), {"admin"}),
        (5, {200000000000000001}, {"admin", "helper"}),
        (100000000000000001, {200000000000000002}, {"admin", "helper"}),
        (5, {7}, set()),
    ],
)
def test_roles_are_what_the_user_has_and_what_discord_roles_give(user: int, held: set[int], roles: set[str]):
    """Both count; in a direct message only the user does."""
    assert BOOK.of(user, held.__contains__) == roles
    assert BOOK.of(user, None) <= {"admin"}


def test_one_of_the_roles_is_enough_and_none_is_a_refusal():
    """A command without roles is for everybody."""
    policy = CommandPolicy(roles=("admin", "helper"))
    assert refusal(call("x", "helper"), policy, GuildSettings()) is None
    assert refusal(call("x"), CommandPolicy(), GuildSettings()) is None
    denied = refusal(call("x", "other"), policy, GuildSettings())
    assert denied is not None
    assert denied.reason == "needs role admin or helper"


@pytest.mark.parametrize(
    ("disabled", "name", "refused"),
    [
        ("ops", "ops status", True),
        ("ops status", "ops status", True),
        ("ops", "opsy", False),
        ("poll", "poll:vote", True),
        ("who is", "Who is", True),
        ("status", "ops status", False),
    ],
)
def test_a_disabled_name_switches_off_what_begins_with_it(disabled: str, name: str, refused: bool):
    """Sub-commands and components go with their command, whatever its letters' case."""
    assert bool(refusal(call(name), CommandPolicy(), GuildSettings(disabled=frozenset({disabled})))) is refused


LIMIT = parse("5/10s per user")[0]


@pytest.mark.parametrize(
    ("error", "result", "say"),
    [
        (Denied("needs role x", Say("role", {"roles": "x"})), "denied", "role"),
        (Throttled(Verdict(False, 3.2, LIMIT)), "throttled", "throttled"),
        (
            commands.CommandOnCooldown(commands.Cooldown(1, 5.0), 2.0, commands.BucketType.user),
            "throttled",
            "throttled",
        ),
        (commands.MaxConcurrencyReached(1, commands.BucketType.user), "throttled", "busy"),
        (commands.CheckFailure("internal name"), "denied", "denied"),
        (commands.MissingPermissions(["ban_members"]), "denied", "plain"),
        (commands.NoPrivateMessage(), "denied", "plain"),
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
def test_what_an_exception_comes_to(error: BaseException, result: str, say: str | None):
    """Refusals and wrong options are told in a sentence; only what is broken has an error for the log."""
    disposition = classify(error)
    assert disposition.result == result
    assert (disposition.say.key if disposition.say else None) == say
    assert (disposition.error is not None) is (result == "failed")


def test_the_error_that_is_logged_is_the_handlers_own():
    """disnake's wrapping is taken off."""
    inner = KeyError("x")
    assert classify(commands.CommandInvokeError(inner)).error is inner


def test_a_throttle_says_its_policy_and_a_time_that_is_not_too_short():
    """Seconds are rounded up."""
    disposition = classify(Throttled(Verdict(False, 3.2, LIMIT)))
    assert disposition.policy == "5/10s per user"
    assert disposition.retry_after_s == 3.2
    assert disposition.say is not None
    assert disposition.say.values["seconds"] == 4


@pytest.mark.parametrize(
    ("answered", "was_answered", "author_notified", "told"),
    [
        (False, False, False, True),
        (False, False, True, True),  # the author's handler said nothing
        (True, False, False, False),  # it said something
        (True, False, True, False),
        (True, True, False, True),  # the answer is older than the error
        (True, True, True, False),
    ],
)
def test_who_is_told_what_went_wrong(*, answered: bool, was_answered: bool, author_notified: bool, told: bool):
    """Everyone without an answer; who has one, only if it cannot be about the error."""
    assert should_tell(answered=answered, was_answered=was_answered, author_notified=author_notified) is told
