"""The value of the pytest fixture ``discord``: the simulated Discord of one test."""

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
    """The Discord of one test, with the bot connected."""

    def __init__(
        self, running: RunningSandbox, bot: disnake.Client, calls: Calls, errors: Errors, notifier: Notifier
    ) -> None:
        super().__init__(running.sandbox, bot, calls, errors, notifier)
        self._incidents = running.incidents

    def guild(self, name: str | None = None, *, id: int | str | None = None) -> Guild:  # noqa: A002 - Discord's name
        """Return the guild of this name or id, by default the first one. A missing guild is created."""
        __tracebackhide__ = True
        wanted, wanted_id = (name or "").casefold(), None if id is None else str(id)
        for guild in self.sandbox.world.guilds.values():
            if wanted_id == guild.id or (wanted_id is None and (name is None or wanted == guild.name.casefold())):
                return Guild(self, guild.id)
        fields = {"name": name or f"Guild {wanted_id}", "id": wanted_id}
        return Guild(self, str(translate_errors(lambda: world_changes.apply(self.sandbox, "add_guild", fields))["id"]))

    async def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Advance Discord's clock: deadlines, tokens, timeouts, limits. A sleep in the bot takes as long as before."""
        passed = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        translate_errors(lambda: self.sandbox.clock.advance(passed.total_seconds()))
        await self.settled()

    def limits(self, **limits: Any) -> None:
        """Enforce Discord's own limits from now on, in place of wider ones; ``invalid_requests=20`` changes one."""
        self.sandbox.limits = translate_errors(lambda: Limits(concurrency_s=LENIENT.concurrency_s).replace(limits))

    @asynccontextmanager
    async def incident(self, name: str, **settings: Any) -> AsyncIterator[None]:
        """Run an incident during the block; `botctl sandbox incident` lists the names."""
        try:
            await self._incidents.start(name, **settings)
        except UsageError as error:
            raise Failed(f"{error} {error.hint or ''}".strip()) from None
        try:
            yield
        finally:
            await self._incidents.stop(name)
