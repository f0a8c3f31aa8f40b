"""Registering the commands, beside code of the author that sends commands itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.offline import offline


@pytest.mark.parametrize("call", ["bulk_overwrite_guild_commands", "bulk_overwrite_global_commands"])
async def test_authors_call_raises_while_the_commands_are_registered(call: str):
    """Its failure is not one of the registration."""
    with offline() as rig:
        bot, caching, cached = rig.bot, asyncio.Event(), asyncio.Event()

        async def refuse(*_: Any) -> Any:
            await asyncio.sleep(0)
            raise ConnectionResetError

        async def cache() -> None:
            caching.set()
            await cached.wait()

        async def sync() -> None:
            await getattr(bot, call)(*arguments)

        arguments = (1, []) if "guild" in call else ([],)
        setattr(bot._connection, call, refuse)
        bot._cache_application_commands, bot._sync_application_commands = cache, sync
        bot._first_connect.set()
        registering = asyncio.create_task(bot.register_commands())
        await caching.wait()
        with pytest.raises(ConnectionResetError):
            await getattr(bot, call)(*arguments)
        assert bot.command_sync.failures == []
        cached.set()
        await registering
        assert [type(failure.error) for failure in bot.command_sync.failures] == [ConnectionResetError]
