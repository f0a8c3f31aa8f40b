"""The bot under test: made, pointed at a sandbox of its own, started, and closed again."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

import disnake
from disnake.asset import Asset
from disnake.http import Route

from botctl.sandbox.model.limits import LENIENT
from botctl.sandbox.process.serve import bind_loopback, serve_sandbox
from botctl.sandbox.server import Access, Sandbox
from botctl.sandbox.testing.calls import FIRST_ERROR_STATUS, Call, Calls
from botctl.sandbox.testing.discord import Discord
from botctl.sandbox.testing.failures import Failed, quote_names
from botctl.sandbox.testing.handlers import Errors, capture_errors
from botctl.sandbox.testing.notifier import Notifier
from botctl.sandbox.testing.worlds import fresh_world

Source = disnake.Client | Callable[[], Any]
"""A bot that was made in the running event loop, or what makes one there (async or not, or again such a function)."""
_START_S = 10.0
_STOP_S = 5.0
_GUILD_READY_S = 0.02  # disnake's own 2 s are a pause after the last guild, and a sandbox sends them all at once


@asynccontextmanager
async def connected(source: Source) -> AsyncIterator[Discord]:
    """A new Discord with the bot in it, ready and with its commands registered.

    Raises Failed when there is no bot or it does not start, and at the end BotRaised for what its handlers raised.
    """
    with patch.multiple(disnake.VoiceClient, warn_nacl=False, warn_dave=False):  # a bot without voice lacks nothing
        bot = await _make_bot(source)
    token, notifier = secrets.token_hex(16), Notifier()
    calls, errors = Calls(notifier), Errors(notifier)
    with capture_errors(bot, errors), bind_loopback() as listener:
        world, application_id = fresh_world("bot", _guild_ids(bot), listener.url)
        sandbox = Sandbox(world, Access({token: application_id}, secrets.token_hex(16)), limits=LENIENT)
        async with serve_sandbox(sandbox, listener, configure=calls.watch) as running:
            with _patch_addresses(listener.url), _patch_pauses(bot):
                async with _run_bot(bot, token, sandbox, calls, notifier):
                    discord = Discord(running, bot, calls, errors, notifier)
                    await discord.begin_test()
                    yield discord
                    await discord.end_test()
                    errors.check()


async def _make_bot(source: Source) -> disnake.Client:
    bot: Any = source
    while callable(bot) and not isinstance(bot, disnake.Client):
        bot = bot()
        bot = await bot if inspect.isawaitable(bot) else bot
    if not isinstance(bot, disnake.Client):
        raise Failed(f"The bot must be a disnake client or a function that makes one, and {bot!r} is neither.")
    if bot.is_closed() or bot.loop is not asyncio.get_running_loop():
        raise Failed(
            "Each test needs a bot of its own, made in its event loop: let a function make it, not the import; or"
            " import its module anew for each test (docs/testing.md shows how)."
        )
    return bot


def _guild_ids(bot: disnake.Client) -> list[int]:
    """The guilds that the bot registers commands in: they must exist."""
    return list(_declared_commands(bot)[1])


def _declared_commands(bot: Any) -> tuple[list[Any], dict[int, list[Any]]]:
    """The bot's commands: global ones, and those by guild."""
    if not hasattr(bot, "application_commands_iterator"):
        return [], {}
    global_commands, guild_commands = bot._ordered_unsynced_commands(bot._test_guilds)  # noqa: SLF001
    return global_commands, guild_commands


@contextmanager
def _patch_addresses(url: str) -> Iterator[None]:
    """There is no setting for where Discord is: disnake has its addresses as constants."""
    with ExitStack() as stack:
        for owner, name, value in (
            (Route, "BASE", f"{url}/api/v10"),
            (Asset, "BASE", f"{url}/cdn"),
            (Asset, "BASE_MEDIA", f"{url}/cdn"),
        ):
            stack.enter_context(patch.object(owner, name, value))
        yield


@contextmanager
def _patch_pauses(bot: disnake.Client) -> Iterator[None]:
    """Without the seconds that disnake waits to be kind to Discord. Only a sandbox may be met like this."""

    async def no_pause(_: int | None, *, initial: bool = False) -> None:
        """Instead of a pause."""

    with ExitStack() as stack:
        stack.enter_context(patch.object(bot._connection, "guild_ready_timeout", _GUILD_READY_S))  # noqa: SLF001
        if bot.before_identify_hook.__module__.startswith("disnake."):
            stack.enter_context(patch.object(bot, "before_identify_hook", no_pause))
        yield


@asynccontextmanager
async def _run_bot(
    bot: disnake.Client, token: str, sandbox: Sandbox, calls: Calls, notifier: Notifier
) -> AsyncIterator[None]:
    task = asyncio.create_task(bot.start(token), name="the bot under test")
    try:
        await _wait_until_ready(bot, task, sandbox, calls, notifier)
        yield
    finally:
        await bot.close()
        _, late = await asyncio.wait((task,), timeout=_STOP_S)
        task.cancel()
        await asyncio.wait(late or (task,))
        if not task.cancelled():
            task.exception()  # told already, if the bot did not start because of it


async def _wait_until_ready(
    bot: disnake.Client, task: asyncio.Task[None], sandbox: Sandbox, calls: Calls, notifier: Notifier
) -> None:
    """Wait until the bot is ready and the sandbox has its commands."""
    refused: list[Call] = []

    def is_over() -> bool:
        refused[:] = [one for one in calls if one.status >= FIRST_ERROR_STATUS and one.route.endswith("/commands")]
        return bool(refused) or task.done()

    in_time = await notifier.wait_until(lambda: is_over() or bot.is_ready(), _START_S)
    if in_time and not is_over():
        await _register_commands(bot)
        in_time = await notifier.wait_until(lambda: is_over() or not _missing_commands(bot, sandbox), _START_S)
    if task.done():
        error = None if task.cancelled() else task.exception()
        raise Failed(f"The bot ended while it started: {error or 'without a word'}") from error
    if refused:
        raise Failed(f"Discord refused the bot's commands: {refused[0].answer}")
    if not in_time:
        missing = f"did not register its commands {quote_names(_missing_commands(bot, sandbox))}"
        raise Failed(f"The bot {missing if bot.is_ready() else 'was not ready'} within {_START_S:g} s.")


async def _register_commands(bot: Any) -> None:
    """What somebody else does once for a bot that is told to register nothing itself."""
    global_commands, guild_commands = _declared_commands(bot)
    if global_commands and not bot.command_sync_flags.sync_global_commands:
        await bot.bulk_overwrite_global_commands(global_commands)
    for guild_id, commands in guild_commands.items():
        if not bot.command_sync_flags.sync_guild_commands:
            await bot.bulk_overwrite_guild_commands(guild_id, commands)


def _missing_commands(bot: disnake.Client, sandbox: Sandbox) -> list[str]:
    """The commands of the bot that the sandbox does not have yet."""
    global_commands, guild_commands = _declared_commands(bot)
    (app,) = sandbox.world.applications.values()
    registered = {(scope, one["type"], one["name"]) for scope in app.commands for one in app.commands[scope].values()}
    declared = [("", one) for one in global_commands]
    declared += [(str(guild_id), one) for guild_id, commands in guild_commands.items() for one in commands]
    return [one.name for scope, one in declared if (scope, one.type.value, one.name) not in registered]
