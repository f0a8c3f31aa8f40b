"""The world's rules, and its file."""

from __future__ import annotations

import asyncio
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import ConfigError
from botctl.sandbox.model.default_world import default_world
from botctl.sandbox.model.messages import drafts
from botctl.sandbox.model.world import KEPT_MESSAGES, PRUNE_BATCH
from botctl.sandbox.storage import world_file
from tests.support.clock import ManualClock
from tests.support.discord import ANN, BOB, GENERAL, GUILD


@given(st.lists(st.floats(min_value=-5, max_value=5)))
def test_ids_increase_when_the_clock_steps_back(steps: list[float]) -> None:
    clock = ManualClock()
    world = default_world(clock)
    ids = []
    for step in steps:
        clock.advance(step)
        ids += [int(world.new_id()), int(world.new_id())]
    assert ids == sorted(set(ids))


def test_id_contains_its_creation_time() -> None:
    clock = ManualClock()
    made_ms = (int(default_world(clock).new_id()) >> 22) + 1_420_070_400_000
    assert made_ms == clock.now().timestamp() * 1000


def test_channel_keeps_only_the_newest_messages() -> None:
    world = default_world()
    draft = drafts.parse_body({"content": "x"}, [], world)
    for _ in range(KEPT_MESSAGES + 3 * PRUNE_BATCH):
        newest = drafts.create(world, draft, channel_id=GENERAL, guild_id=GUILD, author_id=ANN)
    messages = world.messages[GENERAL]
    assert KEPT_MESSAGES <= len(messages) < KEPT_MESSAGES + PRUNE_BATCH
    assert list(messages)[-1] == newest.id


def test_world_survives_saving_and_loading(tmp_path) -> None:
    world = default_world(ManualClock())
    draft = drafts.parse_body({"content": "hi", "embeds": [{"title": "t"}]}, [], world)
    drafts.create(world, draft, channel_id=GENERAL, guild_id=GUILD, author_id=ANN, only_for=BOB)
    world.applications["900000000000000010"].commands[""] = {"1": {"id": "1", "name": "ping"}}
    path = tmp_path / "deep" / "state.json"
    world_file.save(world, path)
    again = world_file.load(path)
    assert world_file.snapshot(again) == world_file.snapshot(world)
    assert again.channels[GENERAL] is again.guilds[GUILD].channels[GENERAL]
    assert int(again.new_id()) > world.last_id
    assert [file.name for file in path.parent.iterdir()] == ["state.json"]


@pytest.mark.looptime
async def test_world_that_cannot_be_saved_is_reported_once(tmp_path, caplog) -> None:
    """The disk is full. It is reported again when it had been saved in between."""
    saver = world_file.Saver(default_world(), tmp_path / "none" / "state.json")
    (tmp_path / "none").touch()
    saving = asyncio.create_task(saver.run())
    for change in range(6):
        if change == 3:
            (tmp_path / "none").unlink()
        if change == 4:
            shutil.rmtree(tmp_path / "none")
            (tmp_path / "none").touch()
        saver.changed()
        await asyncio.sleep(60)
    saving.cancel()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_outage_ends_with_the_sandbox(tmp_path) -> None:
    world = default_world(ManualClock())
    world.guilds[GUILD].available = False
    world_file.save(world, tmp_path / "state.json")
    assert world_file.load(tmp_path / "state.json").guilds[GUILD].available


OTHERS = ["{}", '{"version": 99}', '{"name": "my-bot", "version": "1.0.0"}', "[1]", '{"version": 1, "name": "x"}']
NOT_JSON = ["# Notes\n", "version: 1\n", '{"version": 1, "name": ', '{"version":2,"last_id":1,', "[" * 100_000]


@pytest.mark.parametrize("text", [*OTHERS, *NOT_JSON], ids=lambda text: text[:30])
def test_state_file_of_another_program_stays(tmp_path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="was not written by this version"):
        world_file.load(path)
    assert path.read_text() == text


WHOLE = world_file.snapshot(default_world(ManualClock())).encode()
DAMAGED = {
    "empty": b"",
    "zeros": bytes(len(WHOLE)),
    "cut": WHOLE[: len(WHOLE) // 2],
    "cut at once": WHOLE[:5],
    "only its first bytes, then zeros": WHOLE[:15] + bytes(100),
    "zeroed tail": WHOLE[:-100] + bytes(100),
    "not UTF-8": WHOLE[:50] + b"\xff" + WHOLE[51:],
    "a user that is none": b'{"version": 1, "last_id": 1, "users": {"1": 2}}',
    "an unknown field": WHOLE.replace(b'"bot":', b'"bat":'),
    "too deep": WHOLE[:-1] + b',"x":' + b"[" * 100_000,
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damaged_state_file_is_kept_and_blocks_nothing(tmp_path, data: bytes, caplog) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(data)
    assert world_file.load(path, bots=["dice"]).guilds
    [kept] = tmp_path.iterdir()
    assert kept.name.startswith("state.json.damaged-")
    assert kept.read_bytes() == data
    assert kept.name in caplog.text
