"""A quiet shard asks, a deaf one is noticed, and this process's own delays are not blamed on Discord."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, pairwise, repeat

import disnake
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.bot.gateway.hearing import (
    LOGIN_EVERY_S,
    MAX_RESUME_AGAIN_S,
    PATIENCE,
    PROBE_S,
    HearingProbe,
    Question,
    Remedy,
    next_guild,
    probe_hearing,
    remedy_for,
)
from botctl.core.contracts.shards import MISSES_OF_DEAF

GUILDS = (7, 8, 9)
PATIENT_S = PROBE_S * PATIENCE
guild_sets = st.sets(st.integers(1, 50), min_size=1, max_size=5)


@dataclass
class Simulation:
    """A shard in simulated time. ``answer_s``: how long each answer takes; None: there is none.

    ``late_s``: by how much each sleep of the process is late. What comes in the meantime is read after it.
    """

    answer_s: Callable[[Question], float | None]
    guilds: Iterable[int] = GUILDS
    late_s: Iterator[float] = field(default_factory=lambda: repeat(0.0))
    now_s: float = 100.0
    probe: HearingProbe = field(default_factory=HearingProbe)
    asked: list[tuple[float, Question]] = field(default_factory=list)
    remedies: list[tuple[float, Remedy]] = field(default_factory=list)
    coming: list[float] = field(default_factory=list)
    deaf_at_s: float | None = None  # the first time
    most_misses: int = 0

    def __post_init__(self) -> None:
        self.probe.begin(self.now_s)

    def run(self, for_s: float) -> None:
        end_s = self.now_s + for_s
        while self.now_s < end_s:
            step = self.probe.step(self.now_s, lambda: self.guilds)
            self.most_misses = max(self.most_misses, self.probe.misses)
            if self.probe.deaf and self.deaf_at_s is None:
                self.deaf_at_s = self.now_s
            self._read()
            if isinstance(step, Question):
                self.asked.append((self.now_s, step))
                if (takes_s := self.answer_s(step)) is not None:
                    self.coming.append(self.now_s + takes_s)
            elif isinstance(step, Remedy):
                self.remedies.append((self.now_s, step))
                self.probe.reconnect(step, self.now_s)
                self.probe.begin(self.now_s)
            else:
                self._sleep(step)

    def _sleep(self, seconds: float) -> None:
        late_s = next(self.late_s)
        due_s = self.now_s + seconds
        if not late_s:
            for at_s in sorted(at_s for at_s in self.coming if at_s < due_s):
                self.coming.remove(at_s)
                self.probe.hear("GUILD_MEMBERS_CHUNK", at_s)
        self.now_s = due_s + late_s

    def _read(self) -> None:
        """After the timers of the same turn of the loop, as asyncio's worst case."""
        for at_s in sorted(at_s for at_s in self.coming if at_s <= self.now_s):
            self.coming.remove(at_s)
            self.probe.hear("GUILD_MEMBERS_CHUNK", self.now_s)


@given(st.lists(st.floats(0.001, PATIENT_S * 0.9), min_size=1, max_size=20), guild_sets)
def test_shard_that_answers_is_never_deaf_and_is_asked_in_each_interval(answers: list[float], guilds: set[int]):
    times = cycle(answers)
    world = Simulation(lambda _: next(times), guilds)
    world.run(600)
    assert (world.most_misses, world.remedies) == (0, [])
    gaps = [later - earlier for (earlier, _), (later, _) in zip(world.asked, world.asked[1:], strict=False)]
    assert gaps
    assert all(PROBE_S <= gap <= PROBE_S + PATIENT_S for gap in gaps)


@given(guild_sets, st.floats(1, 10))
def test_shard_without_answers_is_deaf_after_two_questions_within_two_intervals(guilds: set[int], every_s: float):
    world = Simulation(lambda _: None, guilds, probe=HearingProbe(every_s))
    world.run(2 * every_s)
    assert world.deaf_at_s is not None
    before = [question.guild for at_s, question in world.asked if at_s < world.deaf_at_s]
    assert len(before) == MISSES_OF_DEAF
    assert len(set(before)) == min(MISSES_OF_DEAF, len(guilds))
    assert world.remedies[0] == (world.deaf_at_s, Remedy.RESUME)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0.001, PATIENT_S / 5))
def test_own_delays_make_no_shard_deaf(delays: list[float], answer_s: float):
    """Of a blocked loop, or of a process that SIGSTOP holds."""
    world = Simulation(lambda _: answer_s, late_s=cycle(delays))
    world.run(3600)
    assert world.most_misses == 0
    assert world.asked


def test_quiet_shard_is_asked_all_day_and_never_deaf():
    world = Simulation(lambda _: 0.1)
    world.run(86_400)
    assert (world.most_misses, world.remedies) == (0, [])
    assert len(world.asked) == pytest.approx(86_400 / (PROBE_S + 0.1), abs=2)


@settings(max_examples=25)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_deafness_that_comes_and_goes_costs_one_login_an_hour(answered: list[bool]):
    answers = cycle(answered)
    world = Simulation(lambda _: 0.1 if next(answers) else None)
    world.run(2.5 * LOGIN_EVERY_S)
    logins = [at_s for at_s, remedy in world.remedies if remedy is Remedy.LOGIN]
    assert all(later - earlier >= LOGIN_EVERY_S for earlier, later in pairwise(logins))


def test_shard_that_stays_deaf_resumes_logs_in_and_then_resumes_with_growing_pauses():
    world = Simulation(lambda _: None)
    world.run(86_400)
    kinds = [remedy for _, remedy in world.remedies]
    assert kinds[:3] == [Remedy.RESUME, Remedy.LOGIN, Remedy.RESUME]
    assert kinds.count(Remedy.LOGIN) == 1
    pauses = [later - earlier for (earlier, _), (later, _) in zip(world.remedies, world.remedies[1:], strict=False)]
    assert [round(pause, -2) for pause in pauses[1:6]] == [300, 600, 1200, 2400, 3600]
    assert all(MAX_RESUME_AGAIN_S <= pause < MAX_RESUME_AGAIN_S + PROBE_S for pause in pauses[5:])
    assert world.probe.reconnects == len(kinds) > 20
    assert len(world.asked) < 86_400 / PROBE_S * 1.1


def test_answer_after_a_reconnection_ends_the_deafness_at_once():
    hears = False
    world = Simulation(lambda _: 0.1 if hears else None)
    world.run(2 * PROBE_S)
    assert world.probe.deaf
    assert world.probe.reconnects == 1
    hears = True
    world.probe.begin(world.now_s)
    world.run(1)
    assert (world.probe.misses, world.probe.reconnects, world.asked[-1][0]) == (0, 0, world.now_s - 1)


@pytest.mark.parametrize("event", ["READY", "RESUMED", "GUILD_CREATE"])
def test_what_a_start_brings_does_not_end_the_deafness(event: str):
    world = Simulation(lambda _: None)
    world.run(2 * PROBE_S)
    world.probe.hear(event, world.now_s)
    assert (world.probe.misses, world.probe.reconnects) == (MISSES_OF_DEAF, 1)
    world.probe.hear("TYPING_START", world.now_s)
    assert (world.probe.misses, world.probe.reconnects) == (0, 0)


def test_busy_shard_is_not_asked():
    probe = HearingProbe()
    probe.begin(0.0)
    for second in range(1000):
        assert isinstance(probe.step(float(second), lambda: GUILDS), float)
        probe.hear("MESSAGE_CREATE", float(second))
    assert probe.status(1000.0).heard_ago_s == 1.0


@pytest.mark.parametrize("event", ["MESSAGE_CREATE", "GUILD_CREATE", "RATE_LIMITED", ""])
def test_any_event_answers_a_question(event: str):
    probe = HearingProbe()
    probe.begin(0.0)
    assert isinstance(probe.step(PROBE_S, lambda: GUILDS), Question)
    probe.hear(event, PROBE_S + 1)
    assert probe.step(PROBE_S + PATIENT_S, lambda: GUILDS) == pytest.approx(PROBE_S + 1 - PATIENT_S)
    assert probe.misses == 0


def test_nothing_is_asked_or_claimed_without_a_guild():
    world = Simulation(lambda _: None, guilds=())
    world.run(600)
    assert (world.asked, world.remedies) == ([], [])
    assert (world.probe.status(700.0).can_ask, world.probe.status(700.0).deaf) == (False, False)
    world.guilds = GUILDS
    world.run(PATIENT_S * 0.9)
    assert (len(world.asked), world.probe.can_ask) == (1, True)


def test_outage_of_all_guilds_ends_what_was_claimed():
    world = Simulation(lambda _: None)
    world.run(2 * PROBE_S)
    world.guilds = ()
    world.run(PROBE_S)
    assert not world.probe.status(world.now_s).deaf


@given(guild_sets, st.integers(0, 60))
def test_each_guild_has_its_turn(guilds: set[int], after: int):
    turns = []
    for _ in guilds:
        after = next_guild(guilds, after) or 0
        turns.append(after)
    assert sorted(turns) == sorted(guilds)
    assert next_guild((), after) is None


def test_nonce_has_at_most_32_bytes():
    probe = HearingProbe()
    probe._number = 10**12
    probe.begin(0.0)
    step = probe.step(PROBE_S, lambda: GUILDS)
    assert isinstance(step, Question)
    assert len(step.nonce.encode()) <= 32


def test_login_that_is_not_due_becomes_a_later_resume():
    assert remedy_for(1, 20.0, LOGIN_EVERY_S) is Remedy.LOGIN
    assert remedy_for(1, 20.0, LOGIN_EVERY_S - 1) is None
    assert remedy_for(1, 300.0, 300.0) is Remedy.RESUME
    assert remedy_for(10**6, MAX_RESUME_AGAIN_S, 1e9) is Remedy.RESUME


class Socket:
    """A connection over which no answer comes. ``error``: of each attempt to send."""

    def __init__(self, error: Exception | None = None, *, hangs: bool = False, limited: bool = False) -> None:
        self.asked: list[int] = []
        self.error, self.hangs, self.limited = error, hangs, limited

    def is_ratelimited(self) -> bool:
        return self.limited

    async def request_member(self, guild: int, nonce: str) -> None:
        self.asked.append(guild)
        if self.error is not None:
            raise self.error
        if self.hangs:
            await asyncio.Event().wait()


async def probed(ws: Socket, for_s: float, prepare: Callable[[], asyncio.Future[None]]) -> list[Remedy]:
    probe, remedies = HearingProbe(), []
    probe.begin(asyncio.get_running_loop().time())
    running = asyncio.create_task(probe_hearing(probe, ws, lambda: GUILDS, prepare=prepare, reconnect=remedies.append))
    await asyncio.sleep(for_s)
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled(), running
    return remedies


def at_once() -> asyncio.Future[None]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future


@pytest.mark.looptime
@pytest.mark.parametrize(
    "ws",
    [
        Socket(),
        Socket(hangs=True),
        Socket(ConnectionResetError("gone")),
        Socket(disnake.ConnectionClosed(type("S", (), {"close_code": 1006})(), shard_id=0)),  # type: ignore[arg-type]
    ],
)
async def test_question_that_cannot_be_sent_is_one_without_an_answer(ws: Socket):
    assert await probed(ws, 2 * PROBE_S + 0.1, at_once) == [Remedy.RESUME]
    assert ws.asked[:2] == [7, 8]


@pytest.mark.looptime
async def test_nothing_is_sent_while_disnake_holds_messages_back():
    ws = Socket(limited=True)
    assert await probed(ws, 100, at_once) == []
    assert ws.asked == []


@pytest.mark.looptime
async def test_connection_stays_until_the_budget_allows_a_login():
    allowed: list[asyncio.Future[None]] = []

    def prepare() -> asyncio.Future[None]:
        allowed.append(asyncio.get_running_loop().create_future())
        return allowed[-1]

    ws = Socket()
    assert await probed(ws, 3600, prepare) == [Remedy.RESUME]
    assert len(allowed) == 1
    assert allowed[0].cancelled()
