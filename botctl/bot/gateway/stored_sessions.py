"""The sessions of all shards, kept over restarts: in files of the project, and in Redis (`session_mirror`).

Without a session that can be resumed, or when a file cannot be written, the shard logs in at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from botctl.bot.gateway.commands_under_way import CommandsUnderWay
from botctl.bot.gateway.guild_payloads import GuildPayloads, is_worth_storing, stored_form
from botctl.bot.gateway.resume_rules import (
    DAMAGED,
    NOTHING_STORED,
    UNWANTED,
    SessionOrigin,
    origin_of,
    refusal,
    sealing_key,
)
from botctl.bot.gateway.session_file import (
    DamagedFile,
    SessionFile,
    compacted,
    encode_all,
    newest,
    parse_head,
    read_guilds,
    session_path,
)
from botctl.bot.gateway.session_mirror import SessionMirror
from botctl.bot.gateway.socket import CLAIMED
from botctl.core.clock import Clock, unix_ms
from botctl.core.config.settings import Settings
from botctl.core.contracts.discord_access import DiscordAccess
from botctl.core.contracts.shards import ShardSession
from botctl.core.errors import STORE_FAULTS
from botctl.core.processes.runtime import Runtime
from botctl.core.services.tasks import Backoff, Tasks

WRITE_EVERY_S: Final = 1.0
MAX_NAMED: Final = 1000
"""Commands without an answer that are named in the log; beyond this number, they are only counted."""
_log = logging.getLogger(__name__)


class StoredSessions:
    """The `ShardSessions` of a process. ``folder``: the state folder of the project."""

    def __init__(
        self, folder: Path, settings: Settings, base_url: str | None, clock: Clock, mirror: SessionMirror
    ) -> None:
        self._folder = folder
        self._discord = settings.discord
        self._base_url = base_url
        self._clock = clock
        self._mirror = mirror
        self._mirror_answers = True  # in this `begin`
        self._origin: SessionOrigin | None = None
        self._files: dict[int, SessionFile] = {}
        self._restorable: dict[int, GuildPayloads] = {}
        self._doubtful: set[int] = set()  # shards whose next event may have been handled
        self._me = ""
        self._reported = False
        self._ended: set[int] = set()  # in the mirror, too, when it is written next
        self.commands = CommandsUnderWay(folder / "gateway" / "commands")

    async def begin(self, shards: int, token: str) -> Mapping[int, ShardSession]:
        """The sessions that may be resumed, by shard; each of the others logs in, and the log says why."""
        self._close_files()
        self._origin = origin = origin_of(token, self._base_url, map(str, self._discord.intents), shards)
        self._mirror.begin(origin.token, sealing_key(token))
        self._mirror_answers = True
        found: dict[int, ShardSession] = {}
        refused: dict[str, list[int]] = {}
        for shard in range(shards):
            why = UNWANTED
            if self._discord.resume:
                content = await self._newest(shard)
                why = await asyncio.to_thread(self._open, origin, shard, content) if content else NOTHING_STORED
            if why:
                refused.setdefault(why, []).append(shard)
                self.end(shard)
            else:
                ready, file = self._restorable[shard].ready, self._files[shard]
                found[shard] = ShardSession(ready["session_id"], file.sequence, ready["resume_gateway_url"])
        for why, numbers in refused.items():
            _log.info("shard %s logs in: %s", ", ".join(map(str, numbers)), why)
        return found

    async def _newest(self, shard: int) -> bytes | None:
        """The file of ``shard``, or its copy in Redis if that is newer, which it is where the file is gone."""
        contents: list[bytes] = []
        try:
            contents.append(await asyncio.to_thread(session_path(self._folder, shard).read_bytes))
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.info("%s cannot be read: %s", session_path(self._folder, shard), error.strerror)
        if mirrored := await self._mirrored(shard):
            contents.append(mirrored)
        return newest(contents)

    async def _mirrored(self, shard: int) -> bytes | None:
        """The copy in Redis. After one failure the other shards do without: each could wait for seconds."""
        if not self._mirror_answers:
            return None
        try:
            return await self._mirror.read(shard)
        except STORE_FAULTS as error:
            self._mirror_answers = False
            _log.info("%s", error)
            return None

    def _open(self, origin: SessionOrigin, shard: int, content: bytes) -> str:
        """Make ready to resume; returns why that cannot be, or an empty text. It may take long: call it in a thread."""
        try:
            head = parse_head(content)
            if why := refusal(head.origin, origin, self._age_s(head.seen_ms)):
                return why
            guilds, _ = read_guilds(content)
        except DamagedFile:
            return DAMAGED
        records = encode_all(origin, guilds.records())
        try:
            path = session_path(self._folder, shard)
            self._files[shard] = SessionFile(
                path, SessionFile.content(head.sequence, head.seen_ms, records, begun=head.begun)
            )
        except OSError as error:
            return f"{session_path(self._folder, shard)} cannot be written ({error.strerror})"
        self._restorable[shard] = guilds
        if head.begun > head.sequence:
            self._doubtful.add(shard)
        self._me = guilds.ready["user"]["id"]
        return ""

    def take(self, shard: int) -> GuildPayloads | None:
        """The guilds of a shard that resumes, once."""
        return self._restorable.pop(shard, None)

    def record(self, shard: int, event: str, data: Any, text: str, *, is_heard: bool = True) -> None:
        """Store ``event``, before the library gets it, if it changes what a new process must know."""
        if self._doubtful and shard in self._doubtful:
            self._doubtful.discard(shard)
            _tell_repetition(shard, event)
        if event == "READY":
            self._me = data["user"]["id"]
        if self._origin is None or not is_worth_storing(event, data, self._me):
            return
        try:
            if event == "READY":
                self._start(self._origin, shard, stored_form(event, data, self._me))
            elif (file := self._files.get(shard)) is None:
                pass
            elif not is_heard:
                file.append_later(text)
            else:
                file.append(text, is_change=event != "GUILD_CREATE" or data.get("unavailable") is not False)
        except OSError as error:
            self._give_up(shard, error)

    def _start(self, origin: SessionOrigin, shard: int, ready: Any) -> None:
        self._restorable.pop(shard, None)
        if (old := self._files.pop(shard, None)) is not None:
            old.close()
        self._ended.discard(shard)
        content = SessionFile.content(0, unix_ms(self._clock.now()), encode_all(origin, [("READY", ready)]))
        self._files[shard] = SessionFile(session_path(self._folder, shard), content)

    def mark_begun(self, shard: int, sequence: int) -> None:
        """Note that the listeners of ``sequence`` begin now."""
        if (file := self._files.get(shard)) is not None:
            try:
                file.mark_begun(sequence)
            except OSError as error:
                self._give_up(shard, error)

    def mark(self, shard: int, sequence: int) -> None:
        """Note that the listeners of the events up to ``sequence`` have begun."""
        if (file := self._files.get(shard)) is not None:
            try:
                file.mark(sequence)
            except OSError as error:
                self._give_up(shard, error)

    def end(self, shard: int) -> None:
        """Forget the session of ``shard``."""
        self._restorable.pop(shard, None)
        if (file := self._files.pop(shard, None)) is not None:
            file.close()
        self._ended.add(shard)
        with suppress(OSError):
            session_path(self._folder, shard).unlink(missing_ok=True)

    def close(self) -> None:
        """Write nothing more. What is stored stays."""
        self._close_files()
        self.commands.close()

    def _close_files(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _give_up(self, shard: int, error: OSError) -> None:
        self.end(shard)
        if not self._reported:
            self._reported = True
            _log.warning(
                "the session of shard %s cannot be stored (%s): it logs in at the next start", shard, error.strerror
            )

    def _age_s(self, seen_ms: int) -> float:
        return (unix_ms(self._clock.now()) - seen_ms) / 1000

    def take_over(self) -> None:
        """Say in the log which commands the process before this one has left without an answer."""
        left = self.commands.take_over()
        for interaction, name in list(left.items())[:MAX_NAMED]:
            _log.warning("%s (%s) was under way when the last process ended, and has no answer", name, interaction)
        if len(left) > MAX_NAMED:
            _log.warning("%d more commands were under way when the last process ended", len(left) - MAX_NAMED)

    async def write_mirror(self) -> None:
        """Write to Redis what is new. Raises one of `STORE_FAULTS`."""
        if self._origin is None:
            return
        for shard in tuple(self._ended):
            await self._mirror.forget(shard)
            self._ended.discard(shard)
        await self._mirror.write(self._files)

    async def compact(self) -> None:
        """Write long files again, shorter."""
        for shard, file in list(self._files.items()):
            if not file.is_long:
                continue
            size, generation = file.size, file.generation
            shorter, length = await asyncio.to_thread(compacted, file.read(0, size))
            if self._files.get(shard) is file and file.generation == generation:
                try:
                    file.replace_start(shorter, length)
                except OSError as error:
                    self._give_up(shard, error)

    def _mark_time(self) -> None:
        for shard, file in list(self._files.items()):
            try:
                file.mark_seen(unix_ms(self._clock.now()))
            except OSError as error:
                self._give_up(shard, error)

    async def run(self) -> None:
        """Write to Redis, and compact, again and again. Never returns."""
        away = False
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            self._mark_time()
            await self.compact()
            try:
                await self.write_mirror()
                away = False
            except STORE_FAULTS as error:
                _log.log(logging.DEBUG if away else logging.INFO, "%s", error)
                away = True


def _tell_repetition(shard: int, event: str) -> None:
    """Say that ``event``, the first one of the gap, may be handled twice."""
    if event not in ("READY", CLAIMED):
        _log.warning(
            "shard %s: %s comes again, for the last process was killed while its listeners began", shard, event
        )


@asynccontextmanager
async def stored_sessions(
    *, settings: Settings, discord: DiscordAccess, redis: Redis, runtime: Runtime, clock: Clock, tasks: Tasks
) -> AsyncIterator[StoredSessions]:
    """Factory of the service. It needs nothing to start; what it misses costs a login."""
    sessions = StoredSessions(runtime.folder, settings, discord.base_url, clock, SessionMirror(redis))
    sessions.take_over()
    tasks.spawn(sessions.run, name="copy in Redis", restart=Backoff())
    try:
        yield sessions
    finally:
        await tasks.cancel()
        try:
            await sessions.write_mirror()
        except STORE_FAULTS as error:
            _log.info("%s", error)
        sessions.close()
