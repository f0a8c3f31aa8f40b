"""The process of a rehearsal: the bot with an intent, then without it, in a sandbox and stores of its own.

Nothing of it is shared with the bot that runs: all state is in the folder of the rehearsal, and neither the token nor
the addresses of stores are used. The bot's own code runs, its services in ``[services]`` too.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from botctl.bot.client import Bot
from botctl.bot.listener_watch import ListenerWatch
from botctl.bot.service import BotService
from botctl.core.config.loading import Loaded, load
from botctl.core.config.settings import Intent, Settings
from botctl.core.contracts.bus import Bus
from botctl.core.errors import BotctlError
from botctl.core.files.private import write_private
from botctl.core.processes.runtime import Runtime
from botctl.core.services.registry import RunningServices
from botctl.run.roles import ProcessRole, build_run_registry
from botctl.sandbox.console.client import Identity, SandboxClient
from botctl.sandbox.model.tokens import DEFAULT_BOT
from botctl.sandbox.process.service import NAME as SANDBOX

IDLE_S: Final = 2.0
"""How long listeners may run after the last event."""
CLOSED_S: Final = 15.0
"""How long the bot may take to end when its session was closed with 4014."""
_END: Final = "BOTCTL_REHEARSAL_END"
_PERSON: Final = "rehearsal"


def rehearsal_settings(settings: Settings, root: Path, *, intent: str, requested: bool) -> Settings:
    """``settings`` for the sandbox, with or without ``intent``: no token, no address, nothing of ``root`` to write."""
    others = tuple(name for name in settings.discord.intents if name != intent)
    intents = (*others, Intent(intent)) if requested else others
    changes: dict[str, Any] = {
        "profile": "default",
        "discord": {"token": None, "test_guilds": (), "intents": intents},
        "redis": {"url": None},
        "mongo": {"url": None, "database": None},
        "auth": {"secret": None},
        "commands": {"folder": str(Path(root, settings.commands.folder))},
        "migrate": {"folder": str(Path(root, settings.migrate.folder)), "on_start": True},
        "logs": {"folder": "logs"},
        "sandbox": {"port": 0, "limits": {}},
    }
    return settings.model_copy(
        update={
            name: getattr(settings, name).model_copy(update=change) if isinstance(change, dict) else change
            for name, change in changes.items()
        }
    )


def main() -> None:
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as for Ctrl-C: in order
    request = json.loads((folder / "request.json").read_bytes())
    loaded = load(Path(request["project"]), request["profile"], os.environ, {})
    sys.path.append(str(loaded.root))  # for the services of the project
    with suppress(KeyboardInterrupt):
        result = asyncio.run(_rehearse(loaded, folder, request["intent"]))
        write_private(folder / "result.json", json.dumps(result))


async def _rehearse(loaded: Loaded, folder: Path, intent: str) -> dict[str, Any]:
    """The stores and the sandbox run in a registry of their own, so that both starts of the bot share them."""
    settings = rehearsal_settings(loaded.settings, loaded.root, intent=intent, requested=True)
    registry, types = build_run_registry(
        replace(loaded, settings=settings, root=folder, origins={}), (ProcessRole.STORES,), bus=Bus()
    )
    async with registry.open(*types):
        with_intent = await _run(loaded, folder, intent, requested=True)
        without = await _run(loaded, folder, intent, requested=False) if not with_intent["error"] else with_intent
    return {"with": with_intent, "withdrawn": with_intent["withdrawn"], "without": without}


async def _run(loaded: Loaded, folder: Path, intent: str, *, requested: bool) -> dict[str, Any]:
    """Start the bot, let things happen, and say what its listeners did; then, with the intent, withdraw it."""
    seen: dict[str, Any] = {"error": "", "listeners": {}, "members": 0, "withdrawn": ""}
    settings = rehearsal_settings(loaded.settings, loaded.root, intent=intent, requested=requested)
    try:
        registry, types = build_run_registry(
            replace(loaded, settings=settings, root=folder, origins={}), (ProcessRole.BOT,), bus=Bus()
        )
        async with registry.open(*types) as running:
            bot = running.get(BotService).bot
            watch = ListenerWatch(bot)
            part = Runtime(folder).live()[SANDBOX]
            async with SandboxClient(part.address, part.secret or "") as sandbox:
                await _let_things_happen(sandbox, bot)
                await watch.wait_for_arrival(_END)
                await watch.wait_until_idle(IDLE_S)
                seen["members"] = len(set(bot.users))
                seen["listeners"] = {
                    name: asdict(calls) | {"events": sorted(calls.events)} for name, calls in watch.listeners.items()
                }
                if requested:
                    await sandbox.incidents({"name": "intent-withdrawn", "settings": {"intent": intent}})
                    seen["withdrawn"] = await _end_of(running)
                    await sandbox.incidents({"stop": "all"})
    except BotctlError as error:
        if not seen["withdrawn"]:
            seen["error"] = str(error)
    return seen


async def _end_of(running: RunningServices) -> str:
    """How the bot ends; empty if it goes on."""
    try:
        async with asyncio.timeout(CLOSED_S):
            await running.wait()
    except TimeoutError:
        return ""
    except BotctlError as error:
        return f"{error} (exit code {int(error.exit_code)})"


async def _let_things_happen(sandbox: SandboxClient, bot: Bot) -> None:
    """A message that is written, edited and deleted; a person who joins, changes, is online and leaves; then `_END`."""
    ann, guild = Identity(), str(bot.guilds[0].id)
    await sandbox.send("something to read", ann)
    await sandbox.edit("something else to read", ann)
    await sandbox.delete(ann)
    new = await sandbox.change_world({"add_member": {"name": _PERSON}})
    role = next((role.name for role in bot.guilds[0].roles if not role.is_default() and not role.managed), None)
    if role is not None:
        await sandbox.change_world({"give_role": {"member": _PERSON, "role": role}})
    for person in (new["add_member"]["id"], str(bot.guilds[0].owner_id)):
        presence = {
            "user": {"id": person},
            "guild_id": guild,
            "status": "idle",
            "activities": [],
            "client_status": {"desktop": "idle"},
        }
        await sandbox.dispatch_event(DEFAULT_BOT, "PRESENCE_UPDATE", presence)
    await sandbox.change_world({"remove_member": {"member": _PERSON}})
    await sandbox.dispatch_event(DEFAULT_BOT, _END, {})
