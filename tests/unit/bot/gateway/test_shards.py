"""Shards in virtual time, over sockets that do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import disnake
import pytest
from disnake.gateway import ReconnectWebSocket

from botctl.bot.current_token import CurrentToken
from botctl.bot.gateway.shard import ANSWER_S, CONNECT_S
from botctl.bot.gateway.shard_sessions import NoStoredSessions
from botctl.bot.gateway.shards import TABLE, Shards
from botctl.bot.gateway.socket import GatewaySocket
from botctl.bot.login import connect
from botctl.core.config.settings import Settings
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.events import GatewayChanged
from botctl.core.contracts.logins import SPACING_S, LoginLimit, OpenGate
from botctl.core.contracts.shards import Hearing, ShardSession, ShardState
from botctl.core.errors import Held
from botctl.logins.gate import BudgetGate
from botctl.logins.login_file import LoginFile
from botctl.run.lifecycle import _extend_start
from botctl.run.process_manager import START_EXTENSION_S, Supervisor
from tests.unit.logins.test_gate import FakeShared, LoopClock

pytestmark = pytest.mark.looptime
FOREVER = 1e6
Script = Callable[["FakeSocket"], Awaitable[None]]


@dataclass
class FakeSocket:
    """A connection; ``script`` ends it by raising, or lives on. ``resumes``: the sequence that it resumes from."""

    shard: int
    url: str
    at_s: float
    shards: Shards
    script: Script
    resumes: int | None
    session_id: str | None = None
    sequence: int | None = None
    resume_gateway: str | None = None
    latency: float = 0.05
    open: bool = True
    sent: str = ""
    sent_at_s: float = 0.0
    own_code: int | None = None
    socket: Any = field(default_factory=lambda: SimpleNamespace(close_code=None))
    watched: tuple[Any, ...] = ()
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[float, int]] = field(default_factory=list)  # when, and about which guild
    answers: bool = True  # the questions
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    next_event: asyncio.Task[None] | None = None  # of the script
    news: asyncio.Event = field(default_factory=asyncio.Event)  # it is closed, or something was sent

    def watch(self, *watchers: Any) -> None:
        self.watched = watchers

    async def log_in(self) -> None:
        await self.shards.enter_gate(self.shard)
        self._send("IDENTIFY")

    async def resume_session(self) -> None:
        self._send("RESUME")

    def _send(self, what: str) -> None:
        self.sent, self.sent_at_s = what, asyncio.get_running_loop().time()
        self.news.set()

    async def poll_event(self) -> None:
        """An event of the script, or the answer to a question, whichever comes first."""
        await self.news.wait()
        if self.closed.is_set():
            raise ReconnectWebSocket(self.shard)
        self.next_event = self.next_event or asyncio.create_task(self.script(self))
        answer = asyncio.create_task(self.answered.wait())
        try:
            await asyncio.wait({self.next_event, answer}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.next_event.cancel()
            raise
        finally:
            answer.cancel()
        if self.answered.is_set():
            self.answered.clear()
            self.sequence = (self.sequence or 0) + 1
        if self.next_event.done():
            ended, self.next_event = self.next_event, None
            ended.result()

    def is_ratelimited(self) -> bool:
        return False

    async def request_member(self, guild: int, _nonce: str) -> None:
        self.asked.append((asyncio.get_running_loop().time(), guild))
        if self.answers:
            self.answered.set()

    def establish(self, *, url: str = "resume.example") -> None:
        """READY or RESUMED."""
        if self.resumes is None:
            self.session_id, self.sequence, self.resume_gateway = f"s{self.shard}", 1, url
        self.shards.established(self.shard, resumed=self.resumes is not None)

    async def close(self, code: int = 4000) -> None:
        if self.open:
            self.open, self.own_code = False, code
            self.closed.set()
            self.news.set()


async def lives(ws: FakeSocket) -> None:
    """Log in, and receive an event every minute."""
    if not ws.shards._all[ws.shard].up.is_set():
        await asyncio.sleep(0.1)
        ws.establish()
    waiting = asyncio.create_task(ws.closed.wait())
    await asyncio.wait({waiting}, timeout=60)
    waiting.cancel()
    ws.sequence = (ws.sequence or 0) + 1


async def lives_quietly(ws: FakeSocket) -> None:
    """Log in, and receive nothing."""
    ws.establish()
    await ws.closed.wait()


async def lives_briefly(ws: FakeSocket) -> None:
    """Log in, and lose the connection after a second."""
    ws.establish()
    await asyncio.sleep(1)
    raise ReconnectWebSocket(ws.shard)


async def breaks(ws: FakeSocket) -> None:
    raise ReconnectWebSocket(ws.shard)


async def says_nothing(_ws: FakeSocket) -> None:
    await asyncio.sleep(FOREVER)


def closes(code: int) -> Script:
    async def close(ws: FakeSocket) -> None:
        ws.socket.close_code = code
        raise disnake.ConnectionClosed(ws.socket, shard_id=ws.shard, code=code)

    return close


class FakeBot:
    """As much of disnake's client as `Shards` uses."""

    def __init__(self, recommended: int, remaining: int, max_concurrency: int) -> None:
        self.guilds = [SimpleNamespace(id=number << 22, unavailable=False) for number in range(8)]
        self.shard_count: int | None = None
        self.dispatched: list[tuple[str, ...]] = []
        self.gateway_params = SimpleNamespace(encoding="json", zlib=True)
        self.http = self
        self.token = "token"
        self._connection = SimpleNamespace(shards_launched=asyncio.Event(), shard_count=None, shard_ids=())
        setattr(self, TABLE, {})
        self._limit = {
            "total": 1000,
            "remaining": remaining,
            "reset_after": 60_000,
            "max_concurrency": max_concurrency,
        }
        self._recommended = recommended

    async def get_bot_gateway(self, **_: Any) -> tuple[int, str, Any]:
        return self._recommended, "common.example", self._limit

    def dispatch(self, *event: Any) -> None:
        self.dispatched.append(event)


@dataclass
class Rig:
    """Running shards; ``sockets`` in the order of their connections; ``scripts`` of the next, by shard."""

    shards: Shards
    bot: FakeBot
    running: asyncio.Task[None]
    sockets: list[FakeSocket]
    scripts: dict[int, list[Script]]
    events: list[GatewayChanged]

    def of(self, shard: int) -> list[FakeSocket]:
        return [ws for ws in self.sockets if ws.shard == shard]

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.shards.statuses()]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    @asynccontextmanager
    async def start(
        count: int | None = 1,
        *scripts: Script,
        recommended: int = 1,
        remaining: int = 1000,
        max_concurrency: int = 1,
        gate: Any = None,
        **options: Any,
    ) -> AsyncIterator[Rig]:
        """``scripts``: those of shard 0, the last one again and again; other shards live."""
        bot = FakeBot(recommended, remaining, max_concurrency)
        events: list[GatewayChanged] = []
        shards = Shards(bot, gate or OpenGate(), publish=events.append, wanted=count, random=Random(1), **options)
        rig = Rig(shards, bot, asyncio.create_task(shards.run()), [], {0: list(scripts)}, events)

        async def connect(_: Any, gateway: str, shard_id: int, session: str | None, sequence: int | None) -> Any:
            left = rig.scripts.get(shard_id) or [lives]
            script = left.pop(0) if len(left) > 1 else left[0]
            now_s = asyncio.get_running_loop().time()
            ws = FakeSocket(shard_id, gateway, now_s, shards, script, sequence, session, sequence)
            rig.sockets.append(ws)
            if script is refused:
                raise aiohttp.ClientConnectionError("refused")
            if script is unreachable:
                await asyncio.sleep(FOREVER)
            await asyncio.sleep(getattr(script, "opens_after_s", 0))
            return ws

        monkeypatch.setattr(GatewaySocket, "from_client", connect)
        try:
            yield rig
        finally:
            await shards.close()
            await asyncio.wait({rig.running})

    return start


async def refused(_ws: FakeSocket) -> None: ...


async def unreachable(_ws: FakeSocket) -> None: ...


def opens_after(wait_s: float, script: Script) -> Script:
    """Discord's HELLO takes ``wait_s``; then as ``script``."""

    async def slow(ws: FakeSocket) -> None:
        await script(ws)

    slow.opens_after_s = wait_s  # type: ignore[attr-defined]
    return slow


async def test_number_of_shards_is_that_of_discord_or_of_the_settings(run):
    async with run(None, recommended=3, max_concurrency=3) as rig:
        await asyncio.sleep(1)
        assert (rig.bot.shard_count, rig.states) == (3, ["ready"] * 3)
        assert list(rig.bot._connection.shard_ids) == [0, 1, 2]
    async with run(2, recommended=3, max_concurrency=2) as rig:
        await asyncio.sleep(1)
        assert (rig.bot.shard_count, rig.states) == (2, ["ready"] * 2)
        assert [status.guilds for status in rig.shards.statuses()] == [4, 4]


@pytest.mark.parametrize(("most", "expected_s"), [(1, [0, 5.5, 11, 16.5]), (2, [0, 0, 5.5, 5.5]), (16, [0, 0, 0, 0])])
async def test_shards_of_different_keys_log_in_at_the_same_time(run, most: int, expected_s: list[float]):
    """And none of them waits with a connection that is open for long."""
    async with run(4, max_concurrency=most) as rig:
        await asyncio.sleep(60)
        assert [ws.sent_at_s for ws in rig.sockets] == pytest.approx(expected_s, abs=0.1)
        assert all(ws.sent_at_s - ws.at_s < 5.6 for ws in rig.sockets)


@pytest.mark.parametrize(("count", "gate"), [(1, "budget"), (36, "budget"), (200, "open")])
async def test_start_may_take_as_long_as_its_logins(
    run, count: int, gate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """200 shards need 18 minutes. Neither the bot nor systemd gives up: it hears in time that the start goes on."""
    told_s = [0.0]
    monkeypatch.setattr(Supervisor, "extend_start", lambda _: told_s.append(asyncio.get_running_loop().time()))
    extending = asyncio.create_task(_extend_start(Supervisor(None, None)))
    async with run(count, gate=budget_gate(tmp_path) if gate == "budget" else None) as rig:
        rig.scripts |= {shard: [lives_quietly] for shard in range(count)}
        began_s = asyncio.get_running_loop().time()
        gateway_task = await connect(cast(Any, StartingBot(rig)), Settings(), CurrentToken(DiscordAccess("a.b.c")))
        took_s = asyncio.get_running_loop().time() - began_s
        gateway_task.cancel()
        extending.cancel()
        assert (took_s, len(rig.sockets)) == (pytest.approx((count - 1) * SPACING_S, abs=2 + count * 0.01), count)
        waits_s = [later - earlier for earlier, later in pairwise([*told_s, began_s + took_s])]
        assert max(waits_s) < START_EXTENSION_S / 2


def budget_gate(folder: Path) -> BudgetGate:
    """The gate of a process, without a history."""
    clock = LoopClock()
    return BudgetGate(LoginFile(folder, "token"), FakeShared(clock), clock)


class StartingBot:
    """As much of the bot as its start uses."""

    def __init__(self, rig: Rig) -> None:
        self.gateway = rig.shards
        self.connect = partial(asyncio.shield, rig.running)
        self.wait_until_ready = rig.bot._connection.shards_launched.wait

    def add_listener(self, *_: object) -> None:
        """Nothing is dispatched."""


async def test_bot_can_be_ready_when_every_shard_was(run):
    async with run(2, max_concurrency=1) as rig:
        await asyncio.sleep(1)
        assert (rig.states, rig.shards.has_been_up) == (["ready", "waiting"], True)
        assert not rig.bot._connection.shards_launched.is_set()
        await asyncio.sleep(6)
        assert rig.bot._connection.shards_launched.is_set()


async def test_lost_connection_resumes_at_once_at_its_own_address(run):
    async with run(2, lives_briefly, lives, max_concurrency=2) as rig:
        await asyncio.sleep(2)
        first, second = rig.of(0)
        assert (second.sent, second.url, second.resumes) == ("RESUME", "resume.example", first.sequence)
        assert second.at_s == pytest.approx(1, abs=0.2)
        assert [event.state for event in rig.events if event.shard == 0] == ["connected", "disconnected", "resumed"]
        assert rig.bot.dispatched == [("disconnect",), ("shard_disconnect", 0)]
        assert len(rig.of(1)) == 1
        lost = rig.events[[event.state for event in rig.events].index("disconnected")]
        assert (lost.code, lost.reason) == (1006, "the connection broke")


async def test_connections_that_break_again_are_made_with_growing_pauses(run):
    async with run(1, lives_briefly) as rig:
        await asyncio.sleep(1000)
        pauses = [later.at_s - earlier.at_s - 1 for earlier, later in zip(rig.sockets, rig.sockets[1:], strict=False)]
        assert pauses[0] == pytest.approx(0, abs=0.2)
        assert 45 < pauses[-1] <= 61
        assert {ws.sent for ws in rig.sockets[1:]} == {"RESUME"}


async def test_resume_without_answer_becomes_a_login(run):
    """A dead resume address: it is tried, then the common one, and then the shard logs in there."""
    async with run(1, lives_briefly, breaks, breaks, lives) as rig:
        await asyncio.sleep(60)
        assert [(ws.sent, ws.url) for ws in rig.sockets] == [
            ("IDENTIFY", "common.example"),
            ("RESUME", "resume.example"),
            ("RESUME", "common.example"),
            ("IDENTIFY", "common.example"),
        ]


async def test_network_that_is_away_costs_no_session(run):
    """Without a connection nothing was sent, so a RESUME is still tried."""
    async with run(1, lives_briefly, refused, unreachable, refused, refused, lives) as rig:
        await asyncio.sleep(CONNECT_S + 60)
        assert [ws.sent for ws in rig.sockets] == ["IDENTIFY", "", "", "", "", "RESUME"]
        assert rig.states == ["ready"]


async def test_ended_session_logs_in_after_a_pause_and_through_the_gate(run):
    async def ends(ws: FakeSocket) -> None:
        ws.establish()
        await asyncio.sleep(20)
        ws.session_id = ws.sequence = None
        raise ReconnectWebSocket(ws.shard, resume=False)

    async with run(1, ends, lives, relogin_s=(3.0, 3.0)) as rig:
        await asyncio.sleep(21)
        (status,) = rig.shards.statuses()
        assert timedelta(seconds=3) <= status.retry_at - status.last_close.at < timedelta(seconds=20)  # by a real clock
        await asyncio.sleep(39)
        assert rig.shards.statuses()[0].retry_at is None
        assert [ws.sent for ws in rig.sockets] == ["IDENTIFY", "IDENTIFY"]
        assert rig.sockets[1].sent_at_s == pytest.approx(23, abs=0.2)
        assert rig.shards.statuses()[0].last_close.reason == "Discord ended the session"


async def test_login_without_an_answer_is_given_up(run):
    async with run(1, says_nothing, lives) as rig:
        await asyncio.sleep(ANSWER_S + 10)
        assert [ws.sent for ws in rig.sockets] == ["IDENTIFY", "IDENTIFY"]
        assert (rig.sockets[0].own_code, rig.states) == (4000, ["ready"])


async def test_error_of_disnake_itself_does_not_end_other_shards(run):
    async def fails(_: FakeSocket) -> None:
        raise KeyError("colors")

    async with run(2, fails, lives, max_concurrency=2) as rig:
        await asyncio.sleep(20)
        assert (rig.states, len(rig.of(1))) == (["ready", "ready"], 1)


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
async def test_fatal_code_ends_all_shards(run, code: int):
    async with run(2, closes(code), max_concurrency=2) as rig:
        with pytest.raises(disnake.ConnectionClosed) as caught:
            await rig.running
        assert caught.value.code == code
        assert [ws.own_code for ws in rig.of(1)] == [1000]


class ClosedGate(OpenGate):
    """It lets no one in, or, without ``error``, not yet."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error, self.told, self.entered = error, [], 0

    async def limits(self, limit: LoginLimit) -> None:
        self.told.append(limit.remaining)

    async def enter(self, shard: int, shards: int) -> None:
        if self.error is not None:
            raise self.error
        self.entered += 1
        await asyncio.sleep(FOREVER)


async def test_error_of_the_gate_ends_all_shards(run):
    async with run(2, gate=ClosedGate(Held("the other bot has it"))) as rig:
        with pytest.raises(Held):
            await rig.running


async def test_connection_that_ends_while_its_login_waits_is_made_again(run):
    gate = ClosedGate(None)
    async with run(1, gate=gate) as rig:
        await asyncio.sleep(1)
        assert (rig.states, rig.shards.waits_for_login(), gate.told) == ([ShardState.WAITING], True, [1000])
        await rig.sockets[0].close(4000)
        await asyncio.sleep(5)
        assert (len(rig.sockets), gate.entered, rig.states) == (2, 2, [ShardState.WAITING])


async def test_last_logins_are_not_spent_without_a_real_gate(run):
    async with run(1, remaining=0) as rig:
        with pytest.raises(disnake.SessionStartLimitReached):
            await rig.running
        assert rig.sockets == []


@pytest.mark.parametrize(("keep", "code"), [(False, 1000), (True, 4000)])
async def test_closing_ends_the_sessions_or_keeps_them(run, keep: bool, code: int):
    stored = FakeSessions()
    async with run(2, max_concurrency=2, sessions=stored, probe_s=FOREVER) as rig:
        await asyncio.sleep(130)
        await rig.shards.close(keep_sessions=keep)
        await rig.running
        assert [ws.own_code for ws in rig.sockets] == [code, code]
        assert rig.shards._all[1].progress() == ShardSession("s1", 3, "resume.example")
        assert (stored.begun, stored.ended) == ([(2, "token")], [])


class FakeSessions(NoStoredSessions):
    """It has ``sessions``, and remembers what it hears."""

    def __init__(self, sessions: dict[int, ShardSession] | None = None) -> None:
        super().__init__()
        self.sessions, self.begun, self.ended, self.taken = sessions or {}, [], [], []

    async def begin(self, shards: int, token: str) -> dict[int, ShardSession]:
        self.begun.append((shards, token))
        return self.sessions

    def take(self, shard: int) -> None:
        self.taken.append(shard)

    def end(self, shard: int) -> None:
        self.ended.append(shard)


async def test_guilds_are_restored_with_the_first_event_of_a_stored_session(run):
    """And not before: Discord may refuse the session. A login restores nothing."""
    stored = FakeSessions({0: ShardSession("old", 41, "x"), 1: ShardSession("old", 41, "x")})
    async with run(2, max_concurrency=2, sessions=stored) as rig:
        await asyncio.sleep(1)
        assert stored.taken == []
        rig.of(0)[0].watched[0]("MESSAGE_CREATE", {}, "")
        rig.of(0)[0].watched[0]("RESUMED", {}, "")
        rig.of(1)[0].watched[0]("READY", {}, "")
        rig.of(1)[0].watched[0]("GUILD_CREATE", {}, "")
        assert stored.taken == [0]


@pytest.mark.parametrize("code", [4006, 4007, 4009])
async def test_stored_session_that_discord_refuses_becomes_a_login(run, code: int):
    stored = FakeSessions({0: ShardSession("old", 41, "stored.example")})
    async with run(1, closes(code), lives, sessions=stored) as rig:
        await asyncio.sleep(20)
        assert [ws.sent for ws in rig.sockets] == ["RESUME", "IDENTIFY"]


async def test_session_that_is_over_is_forgotten(run):
    stored = FakeSessions()
    async with run(1, sessions=stored) as rig:
        await asyncio.sleep(20)
        await rig.shards.restart(0, fresh=True)
        await asyncio.sleep(20)
        assert (stored.ended, rig.states) == ([0], ["ready"])


async def test_stored_sessions_are_resumed_without_a_login(run):
    stored = FakeSessions({1: ShardSession("old", 41, "stored.example")})
    async with run(2, max_concurrency=2, sessions=stored) as rig:
        await asyncio.sleep(1)
        (ws,) = rig.of(1)
        assert (ws.sent, ws.url, ws.session_id, ws.resumes) == ("RESUME", "stored.example", "old", 41)
        assert rig.states == ["ready", "ready"]


@pytest.mark.parametrize(("fresh", "sent"), [(False, "RESUME"), (True, "IDENTIFY")])
async def test_operator_restarts_one_shard(run, fresh: bool, sent: str):
    async with run(2, max_concurrency=2) as rig:
        await asyncio.sleep(20)
        await rig.shards.restart(0, fresh=fresh)
        await asyncio.sleep(20)
        assert [ws.sent for ws in rig.of(0)] == ["IDENTIFY", sent]
        assert rig.of(0)[0].own_code == (1000 if fresh else 4000)
        assert str(rig.shards.statuses()[0].last_close) == "the bot closed the connection"
        assert len(rig.of(1)) == 1


async def test_restart_while_a_connection_opens_logs_in(run):
    """Not only at the next loss of a connection, and without a pause, since the network works."""
    async with run(1, lives_briefly, refused, refused, refused, opens_after(20, lives), lives) as rig:
        await until_opening(rig, 5)
        await rig.shards.restart(0, fresh=True)
        await asyncio.sleep(20.2)
        assert [(ws.sent, ws.open) for ws in rig.sockets[4:]] == [("", False), ("IDENTIFY", True)]
        assert (rig.states, rig.shards._all[0].session.id) == (["ready"], "s0")
        assert str(rig.shards.statuses()[0].last_close) == "the bot closed the connection"


async def test_restart_that_resumes_leaves_a_connection_that_opens(run):
    async with run(1, lives_briefly, opens_after(20, lives)) as rig:
        await until_opening(rig, 2)
        await rig.shards.restart(0, fresh=False)
        await asyncio.sleep(21)
        assert ([ws.sent for ws in rig.sockets], rig.states) == (["IDENTIFY", "RESUME"], ["ready"])


async def test_shard_that_is_disconnected_while_its_connection_opens_stays_without_one(run):
    async with run(1, opens_after(20, lives), lives) as rig:
        await until_opening(rig, 1)
        await rig.shards._all[0].disconnect()
        await asyncio.sleep(100)
        assert ([(ws.sent, ws.open) for ws in rig.sockets], rig.states) == ([("", False)], [ShardState.CLOSED])
        await rig.shards._all[0].reconnect()
        assert ([ws.sent for ws in rig.sockets], rig.states) == (["", "IDENTIFY"], ["ready"])


async def until_opening(rig: Rig, number: int) -> None:
    """Wait until shard 0 makes its connection ``number``."""
    while len(rig.of(0)) < number:  # noqa: ASYNC110  the time is virtual
        await asyncio.sleep(0.1)


async def is_deaf(ws: FakeSocket) -> None:
    """READY or RESUMED, and then nothing. Questions get no answer."""
    ws.answers = False
    if not ws.shards._all[ws.shard].up.is_set():
        ws.establish()
        ws.watched[0]("READY" if ws.resumes is None else "RESUMED", {}, "")
        ws.sequence = (ws.sequence or 0) + 1
        return
    await ws.closed.wait()


async def test_deaf_shard_resumes_and_hears_again(run, caplog: pytest.LogCaptureFixture):
    async with run(2, is_deaf, lives, max_concurrency=2) as rig:
        await asyncio.sleep(17)
        assert rig.shards.statuses()[0].hearing.misses == 1
        await asyncio.sleep(10)
        assert [ws.sent for ws in rig.of(0)] == ["IDENTIFY", "RESUME"]
        assert (rig.of(0)[0].own_code, rig.of(0)[1].sent_at_s) == (4000, pytest.approx(18, abs=0.2))
        hearing = rig.shards.statuses()[0].hearing
        assert (hearing.misses, hearing.reconnects, hearing.deaf) == (0, 0, False)
        assert [guild >> 22 for _, guild in rig.of(0)[0].asked] == [2, 4]
        lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert lines == [
            (
                "shard 0 has lost its connection to Discord: "
                "it was deaf: Discord sent no events, and left questions unanswered"
            )
        ]
        assert len(rig.of(1)) == 1


async def test_shard_that_stays_deaf_logs_in_once_and_stays(run):
    async with run(1, is_deaf) as rig:
        await asyncio.sleep(300)
        assert [(ws.sent, ws.own_code) for ws in rig.sockets] == [
            ("IDENTIFY", 4000),
            ("RESUME", 1000),
            ("IDENTIFY", None),
        ]
        hearing = rig.shards.statuses()[0].hearing
        assert (hearing.deaf, hearing.reconnects, hearing.can_ask) == (True, 2, True)
        rig.sockets[-1].answers = True
        await asyncio.sleep(11)
        hearing = rig.shards.statuses()[0].hearing
        assert (hearing.deaf, hearing.reconnects) == (False, 0)


async def test_deaf_shard_waits_for_its_login_with_the_connection_that_it_has(run):
    gate = ShortGate()
    async with run(1, is_deaf, gate=gate) as rig:
        await asyncio.sleep(10)
        gate.allowed.clear()
        await asyncio.sleep(3600)
        assert [ws.sent for ws in rig.sockets] == ["IDENTIFY", "RESUME"]
        assert rig.shards.statuses()[0].hearing.deaf
        gate.allowed.set()
        await asyncio.sleep(1)
        assert [ws.sent for ws in rig.sockets] == ["IDENTIFY", "RESUME", "IDENTIFY"]


class ShortGate(OpenGate):
    """Its budget is short until ``allowed``."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = asyncio.Event()
        self.allowed.set()

    async def prepare(self, shard: int, shards: int) -> None:
        await self.allowed.wait()


async def test_quiet_shard_is_asked_about_one_guild_after_the_other_without_those_in_an_outage(run):
    async def is_quiet(ws: FakeSocket) -> None:
        ws.establish()
        await ws.closed.wait()

    async with run(1, is_quiet) as rig:
        rig.bot.guilds[3].unavailable = True
        await asyncio.sleep(1000)
        (ws,) = rig.sockets
        assert 98 <= len(ws.asked) <= 100
        assert {guild >> 22 for _, guild in ws.asked} == {0, 1, 2, 4, 5, 6, 7}
        assert rig.shards.statuses()[0].hearing == Hearing(heard_ago_s=pytest.approx(5, abs=5))


async def test_shard_that_is_not_ready_is_not_asked(run):
    async with run(1, says_nothing) as rig:
        await asyncio.sleep(ANSWER_S - 1)
        assert (rig.sockets[0].asked, rig.shards.statuses()[0].hearing) == ([], None)


@pytest.mark.parametrize("when_s", [0.0, 0.05, 1.0, 5.6, 18.0, 40.0])
async def test_stop_at_any_moment_ends_everything(run, when_s: float):
    """While a shard connects, waits, logs in, pauses."""
    async with run(4, breaks) as rig:
        await asyncio.sleep(when_s)
        await rig.shards.close()
        await rig.running
        assert not [ws for ws in rig.sockets if ws.open]
        names = [task.get_name() for task in asyncio.all_tasks()]
        assert not [name for name in names if "shard" in name]
