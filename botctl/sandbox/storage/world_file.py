"""The world in a file: written atomically soon after each change, read at the start. Never contains secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botctl.core.clock import Clock
from botctl.core.errors import ConfigError
from botctl.core.files.private import make_private_folder, write_private
from botctl.core.files.set_aside import set_aside
from botctl.core.repeats import Repeats
from botctl.sandbox.model.default_world import add_bot, default_world
from botctl.sandbox.model.world import (
    Application,
    Channel,
    Emoji,
    Guild,
    GuildAuditEntry,
    Invite,
    Member,
    Message,
    Overwrite,
    Role,
    Thread,
    User,
    Webhook,
    World,
)

_log = logging.getLogger(__name__)
Json = dict[str, Any]
VERSION = 1
_BEGINNING = b'{"version":1,"last_id":'  # of each `snapshot`
_PAUSE_S = 0.2  # from a change until it is saved, so that several are saved together
_SAVING_SHARE = 0.05  # at most so much of the time is spent on saving: a large world is saved less often


def snapshot(world: World) -> str:
    """The world as JSON text for `restore`."""
    data = {
        "version": VERSION,
        "last_id": world.last_id,
        "users": world.users,
        "guilds": world.guilds,
        "dms": {key: channel for key, channel in world.channels.items() if not channel.guild_id},
        "invites": world.invites,
        "webhooks": world.webhooks,
        "applications": world.applications,
        "messages": world.messages,
    }
    return json.dumps(data, default=vars, separators=(",", ":"))


def restore(text: str, clock: Clock | None = None, *, url: str = "") -> World:
    """The world of a `snapshot`. Raises ValueError, KeyError or TypeError for any other text.

    A file of an older botctl gets the defaults of newer fields.
    """
    data: Json = json.loads(text)
    if data["version"] != VERSION:
        raise ValueError(f"version {data['version']}")
    world = World(clock, last_id=data["last_id"], url=url)
    for user in data["users"].values():
        world.add_user(User(**user))
    world.applications = {key: _application(application) for key, application in data["applications"].items()}
    for user in data["guilds"].values():
        world.add_guild(_guild(user))
    for user in data.get("dms", {}).values():
        world.add_channel(_channel(user))
    world.invites = {key: Invite(**invite) for key, invite in data.get("invites", {}).items()}
    world.webhooks = {key: Webhook(**webhook) for key, webhook in data.get("webhooks", {}).items()}
    for channel_id, messages in data["messages"].items():
        world.messages[channel_id] = {key: Message(**message) for key, message in messages.items()}
    return world


def load(path: Path | None, clock: Clock | None = None, bots: Sequence[str] = (), *, url: str = "") -> World:
    """The world in ``path``, or without that file a default one. Adds those of ``bots`` (names) that are missing.

    A damaged file is renamed and kept, and the world is a default one. Raises ConfigError for the file of a newer
    botctl or of another program, and UsageError for an invalid name.
    """
    if path is None or not path.exists():
        return default_world(clock, bots, url=url)
    _refuse_other_files(path)
    try:
        world = restore(path.read_text(encoding="utf-8"), clock, url=url)
        snapshot(world)  # it must be possible to save it
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        kept = set_aside(path)
        _log.warning("The sandbox's state in %s is damaged. It is kept as %s, and a new world begins.", path, kept.name)
        return default_world(clock, bots, url=url)
    existing = {app.name for app in world.applications.values()}
    for name in dict.fromkeys(bots):
        if name not in existing:
            add_bot(world, name)
    return world


def _refuse_other_files(path: Path) -> None:
    """Raise ConfigError for what never was a world of this version: such a file must stay where it is."""
    if not _was_world(path.read_bytes()):
        raise ConfigError(
            f"The sandbox's state in {path} was not written by this version of botctl.",
            hint="Name another file, or rename this one to start with a new world.",
        )


def _was_world(text: bytes) -> bool:
    """Whether ``text`` is that of a world, or what damage leaves of one: its beginning, NUL bytes, or nothing."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        beginning = b"".join(text.strip(b"\0")[:100].split())  # a world that people edited may have spaces
        return _BEGINNING.startswith(beginning[: len(_BEGINNING)])
    is_known = isinstance(data, dict) and isinstance(data.get("version"), int) and data["version"] <= VERSION
    return is_known and "last_id" in data


def save(world: World, path: Path) -> None:
    """Write ``path`` atomically, mode 0600: it holds the old or the new world, even after a kill."""
    make_private_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write_private(draft, snapshot(world))
    draft.replace(path)


class Saver:
    """Saves ``world`` in the background (`run`), soon after each call of `changed`."""

    def __init__(self, world: World, path: Path) -> None:
        self._world = world
        self._path = path
        self._dirty = asyncio.Event()
        self._repeats = Repeats()

    def changed(self) -> None:
        self._dirty.set()

    async def run(self) -> None:
        pause_s = _PAUSE_S
        try:
            while True:
                await self._dirty.wait()
                await asyncio.sleep(pause_s)
                pause_s = max(_PAUSE_S, self._save() / _SAVING_SHARE)
        finally:
            if self._dirty.is_set():
                self._save()

    def _save(self) -> float:
        """Save, and return the seconds it took. A full disk must not stop the sandbox."""
        self._dirty.clear()
        began_s = time.perf_counter()
        try:
            save(self._world, self._path)
        except OSError as error:
            level = self._repeats.level(logging.WARNING, "state", str(error))
            _log.log(level, "The sandbox's state cannot be written to %s: %s", self._path, error)
        else:
            self._repeats.end("state")
        return time.perf_counter() - began_s


def _guild(data: Json) -> Guild:
    return Guild(
        **{
            **data,
            "available": True,  # an outage ends with the sandbox
            "roles": {key: Role(**role) for key, role in data["roles"].items()},
            "channels": {key: _channel(channel) for key, channel in data["channels"].items()},
            "members": {key: Member(**member) for key, member in data["members"].items()},
            "threads": {key: _channel(thread) for key, thread in data.get("threads", {}).items()},
            "emojis": {key: Emoji(**emoji) for key, emoji in data.get("emojis", {}).items()},
            "audit_log": [GuildAuditEntry(**entry) for entry in data.get("audit_log", [])],
        }
    )


def _application(data: Json) -> Application:
    return Application(**{**data, "emojis": {key: Emoji(**emoji) for key, emoji in data.get("emojis", {}).items()}})


def _channel(data: Json) -> Channel:
    overwrites = {key: Overwrite(**overwrite) for key, overwrite in data.get("overwrites", {}).items()}
    thread = Thread(**data["thread"]) if data.get("thread") else None
    return Channel(**{**data, "overwrites": overwrites, "thread": thread})
