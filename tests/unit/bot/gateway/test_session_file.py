"""A session file is whole after a kill at any byte."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from botctl.bot.gateway.resume_rules import SessionOrigin
from botctl.bot.gateway.session_file import (
    MIN_COMPACTED,
    DamagedFile,
    SessionFile,
    compacted,
    encode_all,
    parse_head,
    read_guilds,
    read_head,
)

ORIGIN = SessionOrigin(token="t", intents=("default",), shards=1, library="l")
READY = {"session_id": "s", "resume_gateway_url": "u", "user": {"id": "10"}, "guilds": [{"id": "1"}]}
GUILD = {"id": "1", "unavailable": False, "channels": []}


def message(event: str, data: Any, number: int = 1) -> str:
    """As Discord sends it."""
    return json.dumps({"t": event, "s": number, "op": 0, "d": data})


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SessionFile]:
    content = SessionFile.content(1, 1000, encode_all(ORIGIN, [("READY", READY)]))
    made = SessionFile(tmp_path / "gateway" / "shard-0", content)
    yield made
    made.close()


def channels(content: bytes) -> list[str]:
    guild = read_guilds(content)[0].guilds["1"]
    return [channel["id"] for channel in guild.get("channels", [])]


def add_channel(file: SessionFile, number: int, **more: str) -> None:
    file.append(message("CHANNEL_CREATE", {"guild_id": "1", "id": str(number), **more}))


def test_it_has_what_was_written(file: SessionFile) -> None:
    file.append(message("GUILD_CREATE", GUILD), is_change=False)
    add_channel(file, 7)
    file.mark(5)
    file.mark_seen(2000)
    head = read_head(file.path)
    assert (head.session, head.origin, head.sequence, head.begun, head.seen_ms) == ("s", ORIGIN, 5, 5, 2000)
    assert channels(file.path.read_bytes()) == ["7"]
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.mark(3)
    assert read_head(file.path).sequence == 5, "an event that comes again does not set it back"


def test_record_that_is_not_whole_is_left_out(file: SessionFile) -> None:
    """Whatever byte was the last; a changed one too."""
    file.append(message("GUILD_CREATE", GUILD))
    before = file.size
    add_channel(file, 7)
    content = file.path.read_bytes()
    assert all(channels(content[:end]) == [] for end in range(before, len(content)))
    assert channels(content[:-1] + bytes([content[-1] ^ 1])) == []
    assert channels(content) == ["7"]


def test_file_that_a_power_cut_has_torn_is_not_used(file: SessionFile) -> None:
    """The mark stands at the beginning, and may be on the disk before the records that it speaks of."""
    file.append(message("GUILD_CREATE", GUILD))
    before = file.size
    add_channel(file, 7)
    file.mark(2)
    content = file.path.read_bytes()
    for torn in (content[:before], content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        with pytest.raises(DamagedFile, match="torn"):
            read_guilds(torn)
    file.replace_start(*compacted(content))
    assert channels(file.path.read_bytes()) == ["7"]


def test_guilds_are_those_of_the_mark_after_a_kill_at_any_moment(file: SessionFile) -> None:
    """Discord sends again what came after it, so a record of that would count twice, and hide what it removes."""

    def look() -> tuple[int, int, int, int]:
        content = file.path.read_bytes()
        head, guild = parse_head(content), read_guilds(content)[0].guilds["1"]
        return head.sequence, head.begun, guild["member_count"], len(guild["channels"])

    file.append(message("GUILD_CREATE", GUILD | {"member_count": 3, "channels": [{"id": "7"}]}))
    gone = message("CHANNEL_DELETE", {"guild_id": "1", "id": "7"}, 2)
    came = message("GUILD_MEMBER_ADD", {"guild_id": "1", "user": {"id": "12"}}, 3)
    moments = [look()]
    for text in (gone, came):  # both have arrived together
        file.append(text)
    moments.append(look())
    for number in (2, 3):
        file.mark_begun(number)
        moments.append(look())
        file.mark(number)
        moments.append(look())
    assert moments == [(1, 1, 3, 1), (1, 1, 3, 1), (1, 2, 3, 1), (2, 2, 3, 0), (2, 3, 3, 0), (3, 3, 4, 0)]


def test_events_that_are_not_handled_yet_stay_in_a_shorter_file(file: SessionFile) -> None:
    file.append(message("GUILD_CREATE", GUILD))
    for number in (2, 3):
        file.append(message("CHANNEL_CREATE", {"guild_id": "1", "id": str(number)}, number))
    file.mark(2)
    file.mark_begun(3)
    shorter, length = compacted(file.read(0, file.size))
    assert length < file.size
    file.replace_start(shorter, length)
    assert channels(file.path.read_bytes()) == ["2"]
    assert read_head(file.path).begun == 3
    file.mark(3)
    assert channels(file.path.read_bytes()) == ["2", "3"]


def test_guilds_that_come_together_are_one_record(file: SessionFile) -> None:
    """It is written before the next mark, and before what comes after it. Those beyond the mark do not count."""
    before = file.size
    for number in (2, 3):
        file.append_later(message("GUILD_CREATE", GUILD | {"id": str(number)}, number))
    assert file.size == before
    file.mark(2)
    content = file.path.read_bytes()
    assert [guild["id"] for guild in read_guilds(content)[0].complete()] == ["2"]
    file.replace_start(*compacted(content))
    file.append_later(message("GUILD_CREATE", GUILD, 4))
    add_channel(file, 7)
    file.mark(4)
    content = file.path.read_bytes()
    assert [guild["id"] for guild in read_guilds(content)[0].complete()] == ["1", "2", "3"]
    assert channels(content) == ["7"]
    assert not file.is_long


@pytest.mark.parametrize("content", [b"", b"botctlg2", b"botctlg2" + bytes(32), b"x" * 100, b"botctlg2" + b"\xff" * 50])
def test_other_files_are_damaged(content: bytes) -> None:
    with pytest.raises(DamagedFile):
        parse_head(content)
    with pytest.raises(DamagedFile):
        read_guilds(content)


def test_long_file_is_made_shorter_while_it_is_written(file: SessionFile) -> None:
    file.append(message("GUILD_CREATE", GUILD), is_change=False)
    while not file.is_long:
        add_channel(file, 7, topic=os.urandom(50_000).hex())
    assert file.size > MIN_COMPACTED
    size = file.size
    guilds, end = read_guilds(file.read(0, size))
    assert end == size
    shorter, _ = compacted(file.read(0, size))
    assert shorter == SessionFile.content(1, 1000, encode_all(ORIGIN, guilds.records()))
    add_channel(file, 8)
    file.mark(9)
    file.replace_start(shorter, size)
    add_channel(file, 9)
    content = file.path.read_bytes()
    assert channels(content) == ["7", "8", "9"]
    assert (len(content), file.is_long, parse_head(content).sequence) == (file.size, False, 9)
    assert file.generation == 2


def test_full_disk_is_an_error(file: SessionFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda _fd, data: len(data) - 1)
    with pytest.raises(OSError, match="No space left") as caught:
        file.append(message("GUILD_CREATE", GUILD))
    assert caught.value.errno == errno.ENOSPC
