"""What the fixture ``discord`` gives: the way from a test to its Discord."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import disnake

from botctl.core.errors import UsageError
from botctl.sandbox.actions import world_changes
from botctl.sandbox.model.limits import LENIENT, Limits
from botctl.sandbox.process.serve import RunningSandbox
from botctl.sandbox.testing.calls import Calls
from botctl.sandbox.testing.failures import Failed, translate_errors
from botctl.sandbox.testing.guilds import Guild
from botctl.sandbox.testing.handlers import Errors
from botctl.sandbox.testing.notifier import Notifier
from botctl.sandbox.testing.watched_bot import WatchedBot


class Discord(WatchedBot):
    """A Discord of one test, with the bot in it."""

    def __init__(
        self, running: RunningSandbox, bot: disnake.Client, calls: Calls, errors: Errors, notifier: Notifier
    ) -> None:
        super().__init__(running.sandbox, bot, calls, errors, notifier)
        self._incidents = running.incidents

    def guild(self, name: str | None = None, *, id: int | str | None = None) -> Guild:  # noqa: A002 - as elsewhere
        """The guild of this name or id, made and joined by the bot when there is none; without either the first one."""
        __tracebackhide__ = True
        wanted, known_id = (name or "").casefold(), None if id is None else str(id)
        for one in self.sandbox.world.guilds.values():
            if known_id == one.id or (known_id is None and (name is None or wanted == one.name.casefold())):
                return Guild(self, one.id)
        said = {"name": name or f"Guild {known_id}", "id": known_id}
        return Guild(self, str(translate_errors(lambda: world_changes.apply(self.sandbox, "add_guild", said))["id"]))

    async def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let time pass in Discord: deadlines, tokens, timeouts, limits. The bot's own sleeps are not shortened."""
        passed = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        translate_errors(lambda: self.sandbox.clock.advance(passed.total_seconds()))
        await self.settled()

    def limits(self, **limits: Any) -> None:
        """From now on Discord's limits hold, with these changed: ``invalid_requests=20``. Until then they do not."""
        self.sandbox.limits = translate_errors(lambda: Limits(concurrency_s=LENIENT.concurrency_s).but(limits))

    @asynccontextmanager
    async def incident(self, name: str, **settings: Any) -> AsyncIterator[None]:
        """While the block runs, it is one of Discord's bad days: one that `botctl sandbox incident` knows."""
        try:
            await self._incidents.start(name, **settings)
        except UsageError as error:
            raise Failed(f"{error} {error.hint or ''}".strip()) from None
        try:
            yield
        finally:
            await self._incidents.stop(name)
