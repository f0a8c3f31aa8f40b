"""Leases: never two who believe, fences that only grow; whatever the clocks, the network and the processes do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pymongo.errors import AutoReconnect

from botctl.core.contracts.lease import LeaseHolder, LeaseWait
from botctl.core.errors import Held, Unreachable
from botctl.stores.lease_rules import MARGIN, Candidate, LeaseRecord, LeaseState
from botctl.stores.leases import COLLECTION, MOVED, POLL_S, MongoLeases, acquire, read_lease, release, renew
from tests.support.mongo_memory import MemoryDatabase
from tests.support.services import LoopClock

NAME, TTL_S = "jobs", 12.0
ACTORS = st.sampled_from([0, 1, 0, 1, 2])

PAUSES_S = st.sampled_from([0.0, 0.0, 1.0, TTL_S / 2, TTL_S * (1 - MARGIN) - 1, TTL_S * 1.1])


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of ``work``, which waits for nothing: the store is in memory."""
    with pytest.raises(StopIteration) as end:
        work.send(None)
    return end.value.value


@dataclass
class Message:
    """A call of the store. It is sent, does its work some time later or never, and is answered later or never."""

    kind: str
    work: Any
    sent_at_s: float
    answer: Any = None
    applied: bool = False


@dataclass
class Actor:
    """A process that wants the lease. Its clock has an origin and a speed of its own."""

    offset_s: float
    speed: float
    candidate: Candidate = field(default_factory=Candidate)
    record: LeaseRecord | None = None
    state: LeaseState | None = None
    fence: int = 0
    message: Message | None = None

    def clock_s(self, world_s: float) -> float:
        return self.offset_s + self.speed * world_s

    def believes(self, world_s: float) -> bool:
        return self.state is not None and self.state.is_valid(self.clock_s(world_s))

    def forget(self) -> None:
        self.candidate, self.record, self.state = Candidate(), None, None


class LeaseMachine(RuleBasedStateMachine):
    """Three processes, one lease. An actor that no rule chooses is a paused process; a lost message is a partition."""

    @initialize(
        speeds=st.lists(st.floats(0.95, 1.05), min_size=3, max_size=3),
        offsets=st.lists(st.floats(0, 1000), min_size=3, max_size=3),
    )
    def begin(self, speeds: list[float], offsets: list[float]) -> None:
        self.store = MemoryDatabase()[COLLECTION]
        self.world_s = 0.0
        self.actors = [Actor(offset, speed) for offset, speed in zip(offsets, speeds, strict=True)]
        self.ghosts: list[Message] = []
        self.fences: list[int] = []

    @rule(index=ACTORS, before_s=PAUSES_S)
    def call(self, index: int, before_s: float) -> None:
        """Some time later a process makes a whole call, or brings the one under way to its end."""
        self.world_s += before_s
        self._go_on(self.actors[index], 3)

    @rule(index=ACTORS, before_s=PAUSES_S)
    def part_of_a_call(self, index: int, before_s: float) -> None:
        """Some time later a call is sent, or arrives, or is answered."""
        self.world_s += before_s
        self._go_on(self.actors[index], 1)

    @rule(index=ACTORS, what=st.sampled_from(["lose", "die", "let go", "ghost"]))
    def trouble(self, index: int, what: str) -> None:
        actor = self.actors[index]
        if what == "ghost":  # an abandoned call arrives after all
            if self.ghosts:
                self._apply(self.ghosts.pop(0))
            return
        if actor.message is not None and not actor.message.applied:
            self.ghosts.append(actor.message)
        if what == "let go" and actor.state is not None:
            self.ghosts.append(Message("release", release(self.store, NAME, actor.fence), 0))
        actor.message = None
        if what != "lose":
            actor.forget()

    def _go_on(self, actor: Actor, phases: int) -> None:
        for _ in range(phases):
            if actor.message is None:
                self._send(actor)
            elif not actor.message.applied:
                self._apply(actor.message)
            else:
                self._answer(actor, actor.message)

    def _send(self, actor: Actor) -> None:
        now_s = actor.clock_s(self.world_s)
        if actor.state is not None and not actor.state.is_valid(now_s):
            actor.forget()
        if actor.state is not None:
            actor.message = Message("renew", renew(self.store, NAME, actor.fence), now_s)
        elif actor.record is not None and actor.candidate.can_take(now_s):
            taking = acquire(self.store, NAME, actor.record, holder="a:1:b", ttl_s=TTL_S)
            actor.message = Message("acquire", taking, now_s)
            actor.fence = actor.record.fence + 1
        else:
            actor.message = Message("read_lease", read_lease(self.store, NAME), now_s)

    def _answer(self, actor: Actor, message: Message) -> None:
        actor.message = None
        if message.kind == "read_lease":
            actor.record = message.answer
            actor.candidate.observe(message.answer, actor.clock_s(self.world_s))
        elif message.kind == "acquire" and message.answer:
            actor.state = LeaseState(TTL_S, message.sent_at_s)
        elif message.kind == "renew" and message.answer and actor.state:
            actor.state.renewed(message.sent_at_s)
        else:
            actor.forget()

    @invariant()
    def one_believer(self) -> None:
        believers = [actor for actor in getattr(self, "actors", ()) if actor.believes(self.world_s)]
        assert len(believers) <= 1

    @invariant()
    def fences_grow(self) -> None:
        fences = getattr(self, "fences", [])
        assert fences == sorted(set(fences))

    def teardown(self) -> None:
        for message in (*getattr(self, "ghosts", ()), *(a.message for a in getattr(self, "actors", ()) if a.message)):
            message.work.close()

    def _apply(self, message: Message) -> None:
        message.answer = done(message.work)
        message.applied = True
        if message.kind == "acquire" and message.answer:
            self.fences.append(done(read_lease(self.store, NAME)).fence)


LeaseMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=80, suppress_health_check=list(HealthCheck)
)
TestLease = LeaseMachine.TestCase


@pytest.mark.soak
class TestLeaseLong(LeaseMachine.TestCase):
    settings = settings(max_examples=3000, stateful_step_count=100, suppress_health_check=list(HealthCheck))


def record(*, free: bool = False, beats: int = 0) -> LeaseRecord:
    return LeaseRecord(fence=3, beats=beats, free=free, ttl_s=10.0, holder="h:1:x")


def test_free_lease_can_be_taken_immediately():
    candidate = Candidate()
    assert not candidate.can_take(0)
    candidate.observe(record(free=True), 5)
    assert candidate.can_take(5)


def test_held_lease_can_be_taken_after_one_ttl():
    candidate = Candidate()
    candidate.observe(record(), 5)
    candidate.observe(record(), 14)
    assert candidate.available_in_s(14) == pytest.approx(1)
    candidate.observe(record(beats=1), 14.9)
    assert not candidate.can_take(24.8)
    assert candidate.can_take(24.9)


def test_lease_expires_for_its_holder_before_the_ttl():
    belief = LeaseState(12.0, sent_at_s=0)
    assert belief.is_valid(9.99)
    assert not belief.is_valid(10)
    belief.renewed(4)
    belief.renewed(2)  # an answer that was overtaken
    assert belief.expires_at_s == pytest.approx(14)


class Flaky:
    """A collection whose network can be cut."""

    def __init__(self) -> None:
        self.inner = MemoryDatabase()[COLLECTION]
        self.cut = False

    def with_options(self, **_options: Any) -> Flaky:
        return self

    def __getattr__(self, name: str) -> Any:
        async def call(*args: Any) -> Any:
            await asyncio.sleep(0.01)
            if self.cut:
                raise AutoReconnect("no route")
            return await getattr(self.inner, name)(*args)

        return call


def two() -> tuple[Flaky, MongoLeases, MongoLeases]:
    flaky, clock = Flaky(), LoopClock()
    other = Flaky()
    other.inner = flaky.inner
    return flaky, MongoLeases(flaky, clock.monotonic), MongoLeases(other, clock.monotonic)


@pytest.mark.looptime
async def test_lease_is_held_until_the_block_ends():
    _, one, other = two()
    async with one.lease("a", ttl_s=6) as lease:
        await asyncio.sleep(60)
        assert lease.held
        with pytest.raises(Held, match=r"a is held by process \d+ on"):
            async with other.lease("a", wait_s=20):
                pass
        assert asyncio.get_running_loop().time() == pytest.approx(80, abs=1)
    assert not lease.held
    async with other.lease("a", ttl_s=6, wait_s=0) as next_one:
        assert next_one.fence == lease.fence + 1


@pytest.mark.looptime
async def test_holder_without_renewal_loses_the_lease_before_takeover():
    flaky, one, other = two()
    loop = asyncio.get_running_loop()
    async with one.lease("a", ttl_s=6) as lease:
        flaky.cut = True
        began = loop.time()
        lost = asyncio.create_task(lease.lost.wait())
        async with other.lease("a", ttl_s=6) as next_one:
            assert lost.done()
            assert not lease.held
            assert next_one.held
            assert 6 <= loop.time() - began < 8
            flaky.cut = False
        async with other.lease("a", wait_s=0) as third:  # leaving the first block later frees nothing
            assert third.fence == lease.fence + 2


@pytest.mark.looptime
async def test_short_outage_does_not_lose_the_lease():
    flaky, one, _ = two()
    async with one.lease("a", ttl_s=6) as lease:
        for _ in range(5):
            flaky.cut = True
            await asyncio.sleep(2)
            flaky.cut = False
            await asyncio.sleep(3)
        assert lease.held


@pytest.mark.looptime
async def test_lease_cannot_be_taken_without_a_store():
    flaky, one, _ = two()
    flaky.cut = True
    with pytest.raises(Unreachable, match="holder of a"):
        async with one.lease("a"):
            pass


@pytest.mark.looptime
async def test_paused_holder_does_not_hold_after_resume():
    """``held`` reads the clock, because no task could set ``lost`` during the pause."""
    now_s = 0.0
    leases = MongoLeases(MemoryDatabase()[COLLECTION], lambda: now_s)
    async with leases.lease("a", ttl_s=6) as lease:
        assert lease.held
        now_s = 5.0
        assert not lease.held


@pytest.mark.looptime
async def test_blocked_loop_is_named_as_lost_reason():
    """The task that renews the lease could not run in time."""
    loop, ahead_s = asyncio.get_running_loop(), 0.0
    leases = MongoLeases(MemoryDatabase()[COLLECTION], lambda: loop.time() + ahead_s)
    async with leases.lease("a", ttl_s=6) as lease:
        await asyncio.sleep(1)
        assert lease.lost_reason == ""
        ahead_s = 20.0
        await lease.lost.wait()
        assert "blocked the event loop" in lease.lost_reason
        assert "20 s or more" in lease.lost_reason


@pytest.mark.looptime
async def test_lost_reason_names_missing_renewal_or_new_holder():
    flaky, one, _ = two()
    async with one.lease("a", ttl_s=6) as lease:
        flaky.cut = True
        await lease.lost.wait()
        assert lease.lost_reason == "MongoDB confirmed no renewal in time"
        flaky.cut = False
    async with one.lease("a", ttl_s=6) as lease:
        await flaky.inner.update_one({"_id": "a"}, {"$inc": {"fence": 1}})
        await lease.lost.wait()
        assert lease.lost_reason == "another process holds it"


@pytest.mark.looptime
async def test_lost_reason_names_a_block_during_a_renewal(own_lag):
    """Then the renewing task woke up in time."""
    flaky, one, _ = two()
    async with one.lease("a", ttl_s=6) as lease:
        flaky.cut = True
        await lease.lost.wait()
        assert "blocked the event loop" in lease.lost_reason


@pytest.mark.looptime
async def test_failed_renewal_is_tried_again_soon():
    """One that timed out because this process was late must not cost the lease."""
    flaky, one, _ = two()
    async with one.lease("a", ttl_s=15) as lease:
        flaky.cut = True
        await asyncio.sleep(11)
        assert lease.held
        flaky.cut = False
        await asyncio.sleep(5)
        assert lease.held


@pytest.mark.looptime
async def test_on_wait_is_called_once():
    _, one, other = two()
    told: list[LeaseWait] = []
    async with one.lease("a", ttl_s=6):
        with pytest.raises(Held):
            async with other.lease("a", wait_s=0.5, on_wait=told.append):
                pass
        assert told == [], "a moment is not worth a word"
        with pytest.raises(Held):
            async with other.lease("a", wait_s=20, on_wait=told.append):
                pass
    (wait,) = told
    assert wait.holder.startswith("process ")
    assert 0 < wait.left_s <= 6
    assert not wait.has_ended


@pytest.mark.parametrize(("silent_s", "said"), [(5, ""), (7.4, ""), (8, "doubtful"), (15.1, "gone")])
def test_holder_is_overdue_then_expired(silent_s, said):
    holder = LeaseHolder("vps:7", silent_s, 15)
    assert ("gone" if holder.expired else "doubtful" if holder.overdue else "") == said


def moved() -> tuple[Any, Any, MongoLeases, MongoLeases]:
    """The old and the new place, and the leases of an old process and of a new one."""
    clock = LoopClock()
    old, new = MemoryDatabase()[COLLECTION], MemoryDatabase("of_leases")[COLLECTION]
    return old, new, MongoLeases(old, clock.monotonic), MongoLeases(new, clock.monotonic, earlier=old)


@pytest.mark.looptime
async def test_moved_lease_continues_its_fence_and_excludes_old_processes():
    old, new, before, after = moved()
    for _ in range(3):
        async with before.lease("a") as last:
            pass
    async with after.lease("a") as lease:
        assert lease.fence > last.fence
        assert (await after.holder("a")) is not None
    assert (await read_lease(new, "a")).free
    waiting = Candidate()  # in an old process
    waiting.observe(await read_lease(old, "a"), 0.0)
    assert not waiting.can_take(100 * 365 * 86400)
    assert not await renew(old, "a", last.fence)


@pytest.mark.looptime
async def test_lease_of_old_process_is_waited_for_before_it_moves():
    _, new, before, after = moved()
    loop = asyncio.get_running_loop()
    async with before.lease("a", ttl_s=6) as held:
        assert (await after.holder("a")) is not None
        with pytest.raises(Held, match=r"a is held by process \d+ on"):
            async with after.lease("a", wait_s=30):
                pass
        assert held.held
        assert await new.find_one({"_id": "a"}) is None
    await before.collection.update_one({"_id": "a"}, {"$set": {"free": False}})  # it was killed
    began = loop.time()
    async with after.lease("a", wait_s=30) as lease:
        assert 6 <= loop.time() - began < 8
        assert lease.fence > held.fence


@pytest.mark.looptime
async def test_processes_that_move_a_lease_at_once_get_different_fences():
    old, _, _, one = moved()
    others = [MongoLeases(one.collection, one.clock_s, earlier=old) for _ in range(4)]
    fences = []

    async def take(leases: MongoLeases) -> None:
        async with leases.lease("a", ttl_s=6) as lease:
            fences.append(lease.fence)
            await asyncio.sleep(1)

    await asyncio.gather(*map(take, [one, *others]))
    assert len(set(fences)) == 5
    assert fences == sorted(fences)


@pytest.mark.looptime
async def test_fence_grows_though_the_database_of_leases_was_deleted():
    old, new, _, after = moved()
    await old.insert_one({"_id": "a", "fence": 5, "beats": 0, "free": True, "ttl_s": 0.0, "holder": ""})
    for _ in range(3):
        async with after.lease("a") as last:
            pass
    await new.drop()
    async with after.lease("a") as lease:
        assert lease.fence > last.fence


@pytest.mark.looptime
async def test_copy_of_a_moved_lease_is_free_on_a_mongodb():
    """Its own holders are elsewhere; their fences were greater."""
    old, _, _, embedded = moved()
    async with embedded.lease("a") as last:
        pass
    mongodb = MongoLeases(old, embedded.clock_s)
    assert await mongodb.holder("a") is None
    async with mongodb.lease("a", ttl_s=6, wait_s=0) as lease:
        assert lease.fence > last.fence
        with pytest.raises(Held, match=r"process \d+ on"):
            async with MongoLeases(old, embedded.clock_s).lease("a", wait_s=0):
                pass


@pytest.mark.looptime
async def test_looking_at_a_lease_moves_nothing():
    old, new, before, after = moved()
    assert await after.holder("a") is None
    async with before.lease("a"):
        pass
    assert await after.holder("a") is None
    assert await new.find_one({"_id": "a"}) is None
    async with after.lease("a"):
        pass
    await new.drop()
    assert await after.holder("a") is None, "a moved lease has no holder"
    assert (await old.find_one({"_id": "a"}))["free"] is False


@pytest.mark.looptime
@pytest.mark.parametrize("alive", [True, False])
async def test_renewal_from_a_clock_ahead_is_not_believed(alive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the holder lives is seen by its next renewal."""
    collection = MemoryDatabase()[COLLECTION]
    leases = MongoLeases(collection, LoopClock().monotonic)
    now = datetime(2026, 1, 1, tzinfo=UTC)

    async def server_time(_: object) -> datetime:
        return now

    monkeypatch.setattr("botctl.stores.leases.server_time", server_time)
    async with leases.lease(NAME, ttl_s=TTL_S):
        if not alive:
            monkeypatch.setattr("botctl.stores.leases.renew", no_renewal)
        await collection.update_one({"_id": NAME}, {"$set": {"renewed": now + timedelta(days=1)}})
        holder = await leases.holder(NAME)
    assert holder is not None
    assert (holder.expired, holder.overdue) == (not alive, not alive)


@pytest.mark.looptime
@pytest.mark.parametrize("ends", ["released", "moved"])
async def test_lease_that_ends_while_it_is_watched_has_no_holder(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leases = await lease_from_a_clock_ahead(monkeypatch)
    asking = asyncio.create_task(leases.holder(NAME))
    await asyncio.sleep(POLL_S / 2)
    change = {"free": True} if ends == "released" else {"holder": MOVED}
    await leases.collection.update_one({"_id": NAME}, {"$set": change, "$inc": {"beats": 1}})
    assert await asking is None


@pytest.mark.looptime
async def test_silent_holder_of_an_earlier_botctl_is_watched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease is missing in the new place: that is no renewal."""
    old = await lease_from_a_clock_ahead(monkeypatch)
    new = MongoLeases(MemoryDatabase()[COLLECTION], LoopClock().monotonic, earlier=old.collection)
    holder = await new.holder(NAME)
    assert holder is not None
    assert holder.expired


async def lease_from_a_clock_ahead(monkeypatch: pytest.MonkeyPatch) -> MongoLeases:
    """Leases with one whose holder is silent, and was renewed at a time that is still to come."""
    collection = MemoryDatabase()[COLLECTION]
    now = datetime(2026, 1, 1, tzinfo=UTC)

    async def server_time(_: object) -> datetime:
        return now

    monkeypatch.setattr("botctl.stores.leases.server_time", server_time)
    await acquire(collection, NAME, await read_lease(collection, NAME), holder="h:1:x", ttl_s=TTL_S)
    await collection.update_one({"_id": NAME}, {"$set": {"renewed": now + timedelta(days=1)}})
    return MongoLeases(collection, LoopClock().monotonic)


async def no_renewal(*_: object) -> bool:
    return True
