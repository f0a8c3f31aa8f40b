"""The registration of the commands at Discord, as the service sees it: waited for, reported, and tried again."""

from __future__ import annotations

import asyncio
import logging
from itertools import chain, repeat
from typing import Final

from botctl.bot.catalog import Catalog
from botctl.bot.client import Bot
from botctl.bot.commands.sync import RETRY_S
from botctl.core.errors import CommandFaults
from botctl.core.services.registry import Tasks

SYNC_S: Final = 20.0
"""How long the connected bot waits for Discord to take its commands before it is ready, but degraded."""
_log = logging.getLogger(__name__)


class Problems:
    """What is wrong with the bot while it runs, by subject. The service is degraded as long as there is any."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._sentences: dict[str, str] = {}

    def sentence(self, subject: str) -> str:
        """Return what is wrong with ``subject``; empty if nothing is."""
        return self._sentences.get(subject, "")

    def report(self, subject: str, sentence: str) -> None:
        """Set the sentence about ``subject``; without one, it is well again."""
        self._sentences.pop(subject, None)
        if sentence:
            self._sentences[subject] = sentence
        if self._sentences:
            self._tasks.degraded("; ".join(self._sentences.values()))
        else:
            self._tasks.recovered()


async def require_registered(bot: Bot, catalog: Catalog, problems: Problems) -> None:
    """Wait until Discord has the commands. Raises CommandFaults if it refuses some, unless ``skip_broken`` is set.

    With any other failure, and if it takes long, the bot is degraded: the commands that Discord has still work.
    """
    try:
        async with asyncio.timeout(SYNC_S):
            await bot.command_sync.done.wait()
    except TimeoutError:
        problems.report("commands", f"Discord has not taken the commands in {SYNC_S:.0f} s; they may be outdated")
        return
    refused = [command for failure in bot.command_sync.failures for command in failure.refused()]
    if refused and not catalog.skip_broken:
        lines = [catalog.locate(command.kind, command.name, bot) + command.sentence for command in refused]
        raise CommandFaults(list(dict.fromkeys(lines)))
    _report_registration(bot, problems)


async def keep_registering(bot: Bot, problems: Problems) -> None:
    """Send the commands again until Discord has them, where that may help. Runs as long as the bot."""
    await bot.command_sync.done.wait()
    _report_registration(bot, problems)
    for delay_s in chain(RETRY_S, repeat(RETRY_S[-1])):
        if all(failure.is_final for failure in bot.command_sync.failures):
            break
        await asyncio.sleep(delay_s)
        await bot.register_commands()
        _report_registration(bot, problems)
    await asyncio.get_running_loop().create_future()


def _report_registration(bot: Bot, problems: Problems) -> None:
    """Say which commands could not be registered, in the service's state, and in the log if that is new."""
    sentence = "; ".join(map(str, bot.command_sync.failures))
    if sentence and problems.sentence("commands") != sentence:
        _log.warning("%s", sentence)
    problems.report("commands", sentence)
