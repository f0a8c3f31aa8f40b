"""Keep `DiscordClock` right: ask Discord for its time at the start, now and then, and in doubt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import disnake
from disnake.http import Route

from botctl.bot.client import Bot
from botctl.bot.interactions.discord_clock import DiscordClock

ASK_EVERY_S: Final = 600.0
ASK_AGAIN_S: Final = 30.0
ASK_LIMIT_S: Final = 3.0


async def ask_for_time(bot: Bot, clock: DiscordClock) -> None:
    """Learn Discord's time from the answer to a request. Without one, the ids of interactions must do."""
    session = getattr(bot.http, f"_{type(bot.http).__name__}__session")  # disnake's own, made by the login
    with contextlib.suppress(disnake.DiscordException, aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(ASK_LIMIT_S):
            with _dates_learnt(session, clock):
                await bot.http.request(Route("GET", "/gateway"))


async def keep_time(bot: Bot, clock: DiscordClock, doubt: asyncio.Event) -> None:
    """Ask for the time every `ASK_EVERY_S`, and when ``doubt`` is set, at most every `ASK_AGAIN_S`.

    A bot that refuses everything for its age gets no other answers, so it would never learn that it is wrong.
    """
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASK_EVERY_S):
                await doubt.wait()
        await ask_for_time(bot, clock)
        await asyncio.sleep(ASK_AGAIN_S)
        doubt.clear()


@contextmanager
def _dates_learnt(session: aiohttp.ClientSession, clock: DiscordClock) -> Iterator[None]:
    """Teach ``clock`` the date of every answer to a request that ``session`` sends while the block runs.

    Not all the time: listening costs a fifth of a small request.
    """

    async def begin(_session: Any, request: SimpleNamespace, _parameters: Any) -> None:
        request.sent_s = clock.ticks()

    async def end(_session: Any, request: SimpleNamespace, parameters: aiohttp.TraceRequestEndParams) -> None:
        date = parameters.response.headers.get("Date")
        if date is not None:
            clock.learn_date(date, request.sent_s)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(begin)
    trace.on_request_end.append(end)
    trace.freeze()
    session.trace_configs.append(trace)
    try:
        yield
    finally:
        session.trace_configs.remove(trace)
