"""Creates the bot under test, connects it to its own sandbox, and closes it."""

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
from botctl.sandbox.sandbox import Access, Sandbox
from botctl.sandbox.testing.calls import FIRST_ERROR_STATUS, Call, Calls
from botctl.sandbox.testing.discord import Discord
from botctl.sandbox.testing.failures import Failed, quote_names
from botctl.sandbox.testing.handlers import Errors, capture_errors
from botctl.sandbox.testing.notifier import Notifier
from botctl.sandbox.testing.worlds import fresh_world

Source = disnake.Client | Callable[[], Any]
"""A bot made in the running event loop; or a function, async or not, that returns one."""
_START_S = 10.0
_STOP_S = 5.0
_GUILD_READY_S = 0.02  # disnake waits 2 s for a further guild; the sandbox sends all guilds at once


@asynccontextmanager
async def connected(source: Source) -> AsyncIterator[Discord]:
    """Start a new Discord with the bot connected and its commands registered.

    Raises Failed when the bot does not start, and at the end BotRaised for exceptions of its handlers.
    """
    with patch.multiple(disnake.VoiceClient, warn_nacl=False, warn_dave=False):  # the sandbox has no voice
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
        raise Failed(f"The bot must be a disnake client or a function that makes one, not {bot!r}.")
    if bot.is_closed() or bot.loop is not asyncio.get_running_loop():
        raise Failed(
            "Each test needs a bot of its own, made in its event loop: make it in a function, or import its module"
            " again for each test (docs/testing.md shows how)."
        )
    return bot


def _guild_ids(bot: disnake.Client) -> list[int]:
    """The guilds in which the bot registers commands, and which must exist before."""
    return list(_declared_commands(bot)[1])


def _declared_commands(bot: Any) -> tuple[list[Any], dict[int, list[Any]]]:
    """The bot's global commands, and its commands by guild."""
    if not hasattr(bot, "application_commands_iterator"):
        return [], {}
    global_commands, guild_commands = bot._ordered_unsynced_commands(bot._test_guilds)  # noqa: SLF001
    return global_commands, guild_commands


@contextmanager
def _patch_addresses(url: str) -> Iterator[None]:
    """Replace Discord's addresses, which are constants in disnake."""
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
    """Remove the pauses that disnake makes to spare the real Discord."""

    async def no_pause(_: int | None, *, initial: bool = False) -> None:
        pass

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
            task.exception()  # `_wait_until_ready` has reported it


async def _wait_until_ready(
    bot: disnake.Client, task: asyncio.Task[None], sandbox: Sandbox, calls: Calls, notifier: Notifier
) -> None:
    """Wait until the bot is ready and the sandbox has its commands."""
    refused: list[Call] = []

    def is_over() -> bool:
        refused[:] = [call for call in calls if call.status >= FIRST_ERROR_STATUS and call.route.endswith("/commands")]
        return bool(refused) or task.done()

    in_time = await notifier.wait_until(lambda: is_over() or bot.is_ready(), _START_S)
    if in_time and not is_over():
        await _register_commands(bot)
        in_time = await notifier.wait_until(lambda: is_over() or not _missing_commands(bot, sandbox), _START_S)
    if task.done():
        error = None if task.cancelled() else task.exception()
        raise Failed(f"The bot stopped during its start: {error or 'without an error'}") from error
    if refused:
        raise Failed(f"Discord refused the bot's commands: {refused[0].answer}")
    if not in_time:
        missing = f"did not register its commands {quote_names(_missing_commands(bot, sandbox))}"
        raise Failed(f"The bot {missing if bot.is_ready() else 'was not ready'} within {_START_S:g} s.")


async def _register_commands(bot: Any) -> None:
    """Register the commands of a bot that does not do it itself."""
    global_commands, guild_commands = _declared_commands(bot)
    if global_commands and not bot.command_sync_flags.sync_global_commands:
        await bot.bulk_overwrite_global_commands(global_commands)
    for guild_id, commands in guild_commands.items():
        if not bot.command_sync_flags.sync_guild_commands:
            await bot.bulk_overwrite_guild_commands(guild_id, commands)


def _missing_commands(bot: disnake.Client, sandbox: Sandbox) -> list[str]:
    """The bot's commands that are not registered yet."""
    global_commands, guild_commands = _declared_commands(bot)
    (app,) = sandbox.world.applications.values()
    registered = {
        (scope, command["type"], command["name"]) for scope in app.commands for command in app.commands[scope].values()
    }
    declared = [("", command) for command in global_commands]
    declared += [(str(guild_id), command) for guild_id, commands in guild_commands.items() for command in commands]
    return [command.name for scope, command in declared if (scope, command.type.value, command.name) not in registered]
