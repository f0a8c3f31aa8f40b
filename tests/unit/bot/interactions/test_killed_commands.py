"""A process that is killed at any moment: no interaction is handled twice, and what has no answer is named."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from botctl.bot.gateway.commands_under_way import CommandsUnderWay
from botctl.bot.interactions.arrivals import Arrivals
from tests.support.offline import Offline, click, interaction, offline, slash

FORM = {"custom_id": "some:form", "components": []}
PAYLOADS = {"command": slash("one"), "component": click("some:button"), "modal": interaction(5, FORM)}
MAX_TURNS = 200


@dataclass
class World:
    """What outlives a process. ``claimed``: in Redis. ``runs``: what the handler has written, as into a database."""

    folder: Path
    claimed: set[int] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)

    async def claim(self, interaction: int) -> bool:
        """As Redis: the claim is there before the process hears of it."""
        await asyncio.sleep(0)
        is_new = interaction not in self.claimed
        self.claimed.add(interaction)
        await asyncio.sleep(0)
        return is_new

    async def process(self, payload: dict[str, Any], answered: list[str]) -> None:
        """A process that gets ``payload``, until it has handled it."""
        with offline(arrivals=Arrivals(claims=self)) as rig:
            self.install(rig, answered)
            rig.bot._connection._commands = ledger = CommandsUnderWay(self.folder / "commands")
            ledger.take_over()
            rig.receive(payload)
            await rig.wait_until_idle()

    def install(self, rig: Offline, answered: list[str]) -> None:
        async def handle(inter):  # type: ignore[no-untyped-def]  disnake reads annotations
            self.runs.append("begins")
            await asyncio.sleep(0)
            await inter.response.send_message("one")
            answered.append("one")

        rig.bot.slash_command(name="one", description="x")(handle)
        rig.bot.add_listener(handle, "on_button_click")
        rig.bot.add_listener(handle, "on_modal_submit")

    def unanswered(self) -> dict[int, str]:
        """What the next process says of the one before it."""
        return CommandsUnderWay(self.folder / "commands").take_over()


def run_and_kill(world: World, payload: dict[str, Any], answered: list[str], turns: int) -> tuple[bool, list[Any]]:
    """Run a process for so many turns of its event loop, and let no part of it run again.

    Returns whether it was done, and what must be kept until the end: Python would run what is left of it.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(world.process(payload, answered))
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()
        if task.done():
            task.result()
            break
    return task.done(), [loop, task, *asyncio.all_tasks(loop)]


def end(kept: list[Any]) -> None:
    """Let Python have what was killed."""
    loop, *tasks = kept
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.close()


@pytest.mark.parametrize("kind", PAYLOADS)
def test_interaction_is_handled_once_wherever_the_kill_was(kind: str, tmp_path: Path) -> None:
    """Discord delivers it again to the next process, which names what it does not handle."""
    payload, seen = PAYLOADS[kind], set()
    for turns in range(MAX_TURNS):
        world, answered = World(tmp_path / str(turns)), list[str]()
        is_done, killed = run_and_kill(world, payload, answered, turns)
        named, by_first, snapshot = world.unanswered(), list(world.runs), list(answered)
        second, kept = run_and_kill(world, payload, answered, MAX_TURNS)
        assert second
        assert len(world.runs) <= 1, f"handled twice after a kill in turn {turns}"
        assert answered or int(payload["id"]) in named, f"no answer and no word after a kill in turn {turns}"
        seen.add((bool(by_first), bool(snapshot), bool(answered)))
        for parts in (killed, kept):
            end(parts)
        if is_done:
            break
    before_it_began, at_work, after_the_answer = (False, False, True), (True, False, False), (True, True, True)
    assert seen >= {before_it_began, at_work, after_the_answer}
