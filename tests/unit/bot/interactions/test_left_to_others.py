"""What a process would only refuse is left to other processes of the bot first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from botctl.bot.interactions.answering import SPEAK_AT_S
from botctl.bot.interactions.arrivals import Arrivals, Claims, NoClaims
from botctl.bot.interactions.discord_clock import DiscordClock
from tests.support.offline import Offline, click, menu, offline, slash, snowflake_at
from tests.support.services import LoopClock

pytestmark = pytest.mark.looptime
START_S = 1_780_000_000.0
SENT = {"known": lambda: slash("busy"), "menu": lambda: menu("other"), "component": lambda: click("some:button")}
UNKNOWN = {"command": lambda: slash("other"), "sub-command": lambda: slash("busy other"), "menu": lambda: menu("busy")}


class SharedClaims:
    """The claims of all processes."""

    def __init__(self) -> None:
        self.claimed: set[int] = set()

    async def claim(self, interaction: int) -> bool:
        await asyncio.sleep(0)
        if interaction in self.claimed:
            return False
        self.claimed.add(interaction)
        return True


@contextmanager
def process(claims: Claims) -> Iterator[Offline]:
    """One process of a bot, with the command ``/busy``, which takes 5 s."""
    clock = LoopClock()
    arrivals = Arrivals(DiscordClock(clock.monotonic), claims)
    with offline(arrivals=arrivals, clock=clock, grace_s=SPEAK_AT_S) as rig:

        @rig.bot.slash_command(name="busy", description="x")
        async def busy(inter):
            await asyncio.sleep(5)
            await inter.response.send_message("done")

        yield rig


async def draining(rig: Offline, limit_s: float = 10.0) -> asyncio.Task[None]:
    """A drain that waits for a command."""
    rig.receive(slash("busy"))
    await asyncio.sleep(0.1)
    return asyncio.create_task(rig.bot.pipeline.drain(limit_s))


async def take(claims: SharedClaims, rig: Offline, payload: dict) -> None:
    """Deliver ``payload``, also to another process, which takes 0.5 s longer."""
    rig.receive(payload)
    await asyncio.sleep(0.5)
    assert await claims.claim(int(payload["id"]))


@pytest.mark.parametrize("kind", SENT)
async def test_draining_process_leaves_interactions_to_another(kind: str):
    with process(claims := SharedClaims()) as rig:
        drain = await draining(rig)
        await asyncio.sleep(0)
        await take(claims, rig, SENT[kind]())
        await drain
        assert rig.webhooks.answers == [("reply", "done")]
        assert [event.result for event in rig.finished] == ["ok"]


@pytest.mark.parametrize("kind", UNKNOWN)
async def test_unknown_command_is_left_to_a_process_that_knows_it(kind: str):
    with process(claims := SharedClaims()) as rig:
        await take(claims, rig, UNKNOWN[kind]())
        await asyncio.sleep(3)
        assert (rig.webhooks.answers, rig.events) == ([], [])


async def test_unclaimed_interaction_is_refused_in_time():
    """Also one that took 2 s to arrive."""
    with process(SharedClaims()) as rig:
        drain = await draining(rig)
        rig.bot.pipeline.arrivals.clock.learn_id(snowflake_at(START_S + 2.0))
        rig.receive(slash("busy") | {"id": str(snowflake_at(START_S))})
        await asyncio.sleep(0.7)
        assert rig.webhooks.answers == []
        await asyncio.sleep(0.1)
        assert [kind for kind, text in rig.webhooks.answers if "restarting" in text] == ["reply"]
        await drain


@pytest.mark.parametrize("limit_s", [3.0, 10.0])
async def test_end_of_the_drain_waits_for_nothing_left(limit_s: float):
    """Interactions come all the time, and each of them is refused."""
    with process(SharedClaims()) as rig:
        drain = await draining(rig, limit_s)
        sent = 0
        while not drain.done():
            rig.receive(slash("busy"))
            sent += 1
            await asyncio.sleep(0.3)
        await asyncio.sleep(0.1)
        assert asyncio.get_running_loop().time() < min(limit_s, 5.0) + 1
        results = [event.result for event in rig.finished]
        assert results.count("denied") == sent
        assert len(results) == len(rig.webhooks.answers) == sent + 1


async def test_process_that_is_alone_refuses_at_once():
    with process(NoClaims()) as rig:
        drain = await draining(rig)
        await asyncio.sleep(0)
        for payload in (slash("busy"), slash("other")):
            rig.receive(payload)
            await asyncio.sleep(0.1)
        assert len(rig.webhooks.answers) == 2
        await drain
