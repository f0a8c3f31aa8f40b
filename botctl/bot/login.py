"""Log in to Discord, open the gateway, and close both; what Discord refuses becomes an error with an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

import aiohttp
import disnake

from botctl.bot.client import Bot, intents_of
from botctl.bot.current_token import CurrentToken
from botctl.bot.gateway.shard_rules import FATAL_CODES, down_sentence, meaning_of
from botctl.core.config.settings import Settings
from botctl.core.errors import BotctlError, ConfigError, DeadToken, Held, Unreachable
from botctl.core.event_loop.tasks import create_watched_task

PRIVILEGED: Final = ("members", "presences", "message_content")
"""Discord: Gateway > Privileged Intents."""
CONNECT_S: Final = 60.0
_LOOK_S: Final = 1.0
_LOGIN_ATTEMPTS: Final = 3
_TOO_MANY_GUILDS: Final = 4011
_SHARDS_HINT: Final = 'Set discord.shards to "auto", or to a higher number; Discord allows 2,500 guilds for each.'
_log = logging.getLogger(__name__)


async def log_in(bot: Bot, token: CurrentToken) -> None:
    """Log in. A refused token is not tried again, but one that has replaced it is."""
    while True:
        try:
            await _log_in(bot, token.text)
        except DeadToken as refusal:
            token.renew(refusal)
            await bot.http.close()  # the next login makes another session
        else:
            return


async def _log_in(bot: Bot, token: str) -> None:
    """Log in. Network errors are retried; a refused token is not."""
    for attempt in range(1, _LOGIN_ATTEMPTS + 1):
        try:
            await bot.login(token)
        except (aiohttp.ClientError, OSError, disnake.DiscordServerError) as error:
            if attempt == _LOGIN_ATTEMPTS:
                raise _to_botctl_error(error) from error
            _log.warning("Discord does not answer (%s), trying again", type(error).__name__)
            await bot.http.close()  # the next attempt makes another session, and would leave this one open
            await asyncio.sleep(attempt)
        except disnake.DiscordException as error:
            raise _to_botctl_error(error) from error
        else:
            return


async def connect(bot: Bot, settings: Settings, token: CurrentToken, limit_s: float = CONNECT_S) -> asyncio.Task[None]:
    """Open the gateway, and wait until all shards were connected and the guilds have arrived.

    Return the task that runs the gateway: shards reconnect for ever, and a token that was replaced is followed. It ends
    when the bot is closed.

    Raises:
        Unreachable: no shard has connected in ``limit_s``; the time in which a login waits for its turn does not count.
    """

    async def accepted() -> None:
        token.accept()

    bot.add_listener(accepted, "on_connect")
    ready = create_watched_task(bot.wait_until_ready(), name="bot ready")
    gateway_task = asyncio.create_task(_run_gateway(bot, settings, token), name="bot gateway")
    silence = create_watched_task(_wait_for_silence(bot, limit_s), name="bot without a connection")
    try:
        await asyncio.wait({ready, gateway_task, silence}, return_when=asyncio.FIRST_COMPLETED)
        if gateway_task.done():
            gateway_task.result()
            raise Unreachable("Discord closed the gateway before the bot was ready")
        if not ready.done():
            why = down_sentence(bot.gateway.statuses())
            raise Unreachable(f"no shard has connected to Discord in {limit_s:.0f} s{': ' if why else ''}{why}")
    except BaseException:
        gateway_task.cancel()
        raise
    finally:
        ready.cancel()
        silence.cancel()
    return gateway_task


async def _run_gateway(bot: Bot, settings: Settings, token: CurrentToken) -> None:
    """Run all shards until the bot is closed; again, if the token was replaced."""
    while True:
        try:
            await bot.connect()
        except BotctlError:
            raise
        except Exception as error:
            failure = _to_botctl_error(error, settings)
            if not isinstance(failure, DeadToken):
                raise failure from error
            token.renew(failure)
            bot.http.token = token.text  # a login would replace the session that running commands use
        else:
            return


async def _wait_for_silence(bot: Bot, limit_s: float) -> None:
    """Return when no shard has connected for ``limit_s`` seconds in which none waits to log in; else never."""
    silent_s = 0.0
    while silent_s < limit_s:
        await asyncio.sleep(_LOOK_S)
        if bot.gateway.has_been_up:
            await asyncio.get_running_loop().create_future()
        silent_s += 0.0 if bot.gateway.waits_for_login() else _LOOK_S


async def watch_gateway(gateway_task: asyncio.Task[None]) -> None:
    """Wait for the gateway task, so that the registry sees when it ends."""
    try:
        await gateway_task
    finally:
        gateway_task.cancel()


def _to_botctl_error(error: Exception, settings: Settings | None = None) -> BotctlError:
    """Return ``error`` as an error with an exit code and a hint for the operator."""
    match error:
        case disnake.LoginFailure() | disnake.ConnectionClosed(code=4004):
            hint = "Set discord.token (BOTCTL_DISCORD__TOKEN) to the token shown once at Discord's developer portal."
            return DeadToken("Discord refuses the token", hint=hint)
        case disnake.HTTPException(status=401):
            hint = "Set discord.token (BOTCTL_DISCORD__TOKEN) to a valid token."
            return DeadToken("Discord refuses the token", hint=hint)
        case disnake.ConnectionClosed(code=4014):
            missing = [name for name in PRIVILEGED if settings and getattr(intents_of(settings.discord.intents), name)]
            names = ", ".join(missing) or "unknown"
            hint = "Enable them at Discord's developer portal under Bot, or remove them from discord.intents."
            return ConfigError(f"Discord has not granted the privileged intents {names}", hint=hint)
        case disnake.ConnectionClosed(code=code) if code in FATAL_CODES:
            hint = _SHARDS_HINT if code == _TOO_MANY_GUILDS else ""
            return ConfigError(f"Discord closed the gateway with {code}: {meaning_of(code)}", hint=hint)
        case disnake.SessionStartLimitReached(session_start_limit=limit):
            when = limit.reset_time.isoformat(timespec="seconds")
            hint = "Wait until then; Discord resets the token of a bot that starts too often."
            return Held(f"Discord allows no new session before {when}", hint=hint)
        case _:
            return Unreachable(f"Discord does not answer correctly: {type(error).__name__}: {error}")


async def close_bot(bot: Bot, *, keep_sessions: bool = False) -> None:
    """Close the gateway and the session for requests, and cancel what disnake's login left unfinished.

    ``keep_sessions``: as `Shards.close`.
    """
    try:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await bot.close(keep_sessions=keep_sessions)
    finally:
        await bot.http.close()  # if the gateway's end failed, disnake has left the session open
    unfinished = [
        task for task in asyncio.all_tasks() if task.get_name().startswith("disnake: app_command_preparation")
    ]
    for task in unfinished:
        task.cancel()
    if unfinished:
        await asyncio.wait(unfinished, timeout=1.0)
