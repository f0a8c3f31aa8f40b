"""What follows from the end of a connection, and when there are too few shards."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import disnake
import pytest
from disnake.gateway import ReconnectWebSocket
from hypothesis import given
from hypothesis import strategies as st

from botctl.bot.gateway.shard_rules import (
    FATAL_CODES,
    Loss,
    capacity_notice,
    down_sentence,
    gateway_problem,
    is_fatal,
    loss_of,
    meaning_of,
    pause_s,
    resume_url,
)
from botctl.core.contracts.shards import ShardClose, ShardState, ShardStatus

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RELOGIN_S = (1.0, 5.0)
REFUSED = "and Discord refuses one with more than 2,500"


def closed(code: int) -> disnake.ConnectionClosed:
    socket: Any = type("Socket", (), {"close_code": code})()
    return disnake.ConnectionClosed(socket, shard_id=0, code=code)


def loss(error: Exception, *, own_code: int | None = None, code: int | None = None, silent: bool = False) -> Loss:
    return loss_of(error, own_code=own_code, code=code, silent=silent)


def test_reconnect_of_discord_keeps_the_session():
    """Op 7 and op 9 with true: disnake has closed with 4000."""
    asked = loss(ReconnectWebSocket(0), own_code=4000, code=4000)
    assert (asked.code, asked.resumes, asked.expected) == (None, True, True)


def test_ended_session_cannot_go_on():
    ended = loss(ReconnectWebSocket(0, resume=False), own_code=1000)
    assert (ended.resumes, ended.expected) == (False, True)


def test_silence_is_no_request_of_discord():
    """After a minute without anything, this side closes with 4000 too."""
    silent = loss(ReconnectWebSocket(0), own_code=4000, silent=True)
    assert (silent.reason, silent.resumes, silent.expected) == ("Discord sent nothing for a minute", True, False)


@pytest.mark.parametrize("code", [1000, 1001, 4000, 4001, 4002, 4003, 4005, 4008])
def test_closed_connection_resumes_and_has_a_reason(code: int):
    found = loss(ReconnectWebSocket(0), code=code)
    assert (found.code, found.resumes, found.expected) == (code, True, False)
    assert found.reason != "no known reason"


@pytest.mark.parametrize("code", [4007, 4009])
def test_these_codes_need_a_new_session(code: int):
    assert not loss(ReconnectWebSocket(0), code=code).resumes


def test_broken_connection_has_code_1006():
    assert loss(ReconnectWebSocket(0)).code == 1006


def test_error_of_the_network_is_named():
    found = loss(ConnectionResetError(104, "reset\nby peer"))
    assert (found.resumes, found.reason) == (True, "ConnectionResetError: [Errno 104] reset\\nby peer")


@given(st.integers(1000, 4999))
def test_only_codes_that_a_person_must_act_on_are_fatal(code: int):
    assert is_fatal(closed(code)) == (code in FATAL_CODES)
    assert {4004, 4010, 4011, 4012, 4013, 4014} == FATAL_CODES


def test_fatal_codes_have_a_meaning():
    assert "no known reason" not in map(meaning_of, FATAL_CODES)
    assert meaning_of(4999) == "no known reason"


@given(st.integers(1, 100), st.booleans(), st.booleans(), st.integers())
def test_pauses_begin_at_once_and_stay_below_a_minute(losses: int, resumes: bool, expected: bool, seed: int):
    found = pause_s(losses, Loss(None, "x", resumes=resumes, expected=expected), RELOGIN_S, Random(seed))
    if losses > 1:
        assert 0.8 * min(2.0 ** (losses - 2), 60) <= found <= min(2.0 ** (losses - 2), 60)
    elif expected and not resumes:
        assert 1 <= found <= 5
    else:
        assert found == 0


def test_dead_resume_address_is_tried_by_turns():
    assert [resume_url("own", "common", losses) for losses in range(5)] == ["own", "own", "common", "own", "common"]


@pytest.mark.parametrize(
    ("guilds", "shards", "recommended", "automatic", "notice"),
    [
        ({}, 1, 1, True, ""),
        ({0: 2249}, 1, 1, True, ""),
        (
            {0: 5, 1: 2310},
            2,
            5,
            True,
            f"shard 1 has 2,310 guilds, {REFUSED}: restart the bot, and it has 5 shards",
        ),
        (
            {0: 2250},
            1,
            1,
            False,
            f"shard 0 has 2,250 guilds, {REFUSED}: set discord.shards to 2, and restart the bot",
        ),
        ({}, 1, 3, False, "Discord recommends 3 shards, and 1 runs: set discord.shards to 3, and restart the bot"),
        ({}, 16, 20, True, "Discord recommends 20 shards, and 16 run: restart the bot, and it has 20 shards"),
        ({}, 16, 4, True, ""),
    ],
)
def test_too_few_shards_are_said_with_what_to_do(
    guilds: dict[int, int], shards: int, recommended: int, automatic: bool, notice: str
):
    assert capacity_notice(guilds, shards, recommended, automatic=automatic) == notice


def status(number: int, *, up: bool = True) -> ShardStatus:
    close = ShardClose(code=4000, reason="Discord had an unknown error", at=NOW)
    state = ShardState.READY if up else ShardState.CONNECTING
    return ShardStatus(id=number, state=state, since=NOW, last_close=None if up else close)


def test_reconnect_of_one_of_many_shards_is_named_and_no_problem():
    shards = [status(0), status(1, up=False), status(2)]
    assert gateway_problem(shards) == ""
    assert down_sentence(shards) == "2 of 3 shards are connected: shard 1 (4000, Discord had an unknown error) is not"
    assert down_sentence([status(0)]) == ""


def test_bot_without_any_connection_has_a_problem():
    why = "(4000, Discord had an unknown error)"
    assert gateway_problem([status(0, up=False)]) == f"the gateway is disconnected {why}"
    two = [status(0, up=False), status(1, up=False)]
    assert gateway_problem(two) == f"0 of 2 shards are connected: shard 0 {why} and 1 more are not"
    assert gateway_problem([]) == ""
