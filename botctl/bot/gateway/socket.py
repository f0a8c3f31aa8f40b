"""disnake's websocket of the gateway, without its own idea of when to log in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import aiohttp
from disnake.gateway import DiscordWebSocket

CLAIMED: Final = "INTERACTION_CREATE"
"""It is handled once whatever its mark says (`botctl.bot.interactions.claims`), so that it begins needs no note."""
MARK_S: Final = 0.1
"""After this, events that no listener hears of are marked."""
CLOSE_S: Final = 2.0
"""How long Discord may take to answer a close; aiohttp waits for 30 s."""


class GatewaySocket(DiscordWebSocket):
    """A connection of one shard. Make it with `from_client`, which returns after Discord's HELLO.

    There disnake would send IDENTIFY or RESUME at once. Its two methods do nothing here, and `log_in` and
    `resume_session` send them, so that the connection is read while a login waits for its turn.
    """

    _greeted = False
    _text = ""  # of the newest message
    _unmarked = 0  # the newest event that no listener hears of
    _marking: asyncio.TimerHandle | None = None

    async def identify(self) -> None:
        """Do nothing."""

    async def resume(self) -> None:
        """Do nothing."""

    def watch(
        self, before: Callable[[str, Any, str], bool], begin: Callable[[int], None], after: Callable[[int], None]
    ) -> None:
        """Call ``before`` with each event, its data and the text of the message before it is parsed.

        It returns whether listeners may hear of it; the others are marked together, `MARK_S` later.

        ``begin`` gets its sequence number right before its first listener begins, and ``after`` when each of them has:
        disnake starts them as tasks, and the event loop runs what is ready in the order in which it became so.
        """
        loop = asyncio.get_running_loop()

        def parse_watched(event: str, parse: Callable[[Any], Any], data: Any) -> None:
            is_heard = before(event, data, self._text)
            sequence = self.sequence or 0
            if not is_heard:
                self._unmarked = sequence
                self._marking = self._marking or loop.call_later(MARK_S, mark_unheard)
                parse(data)
                return
            if event != CLAIMED:
                loop.call_soon(begin, sequence)
            try:
                parse(data)
            finally:
                loop.call_soon(after, sequence)

        def mark_unheard() -> None:
            self._marking = None
            loop.call_soon(after, self._unmarked)  # behind those whose listeners begin now

        parsers = self._discord_parsers.items()
        self._discord_parsers = {event: partial(parse_watched, event, parse) for event, parse in parsers}

    def log_receive(self, data: str, /) -> None:
        """Keep the text of a message until it is parsed. disnake calls this, or the next one for its debug events."""
        self._text = data

    def debug_log_receive(self, data: str, /) -> None:
        self._text = data
        super().debug_log_receive(data)

    async def log_in(self) -> None:
        """Wait for the turn (``before_identify_hook``), then send IDENTIFY."""
        await super().identify()

    async def resume_session(self) -> None:
        """Send RESUME with the session of `from_client`."""
        await super().resume()

    async def request_member(self, guild: int, nonce: str) -> None:
        """Ask for the bot's own member of ``guild``: op 8 with a user's id, which needs no privileged intent."""
        me = str(self._connection.user.id)
        request = {"guild_id": str(guild), "user_ids": [me], "nonce": nonce}
        await self.send_as_json({"op": self.REQUEST_MEMBERS, "d": request})

    async def poll_event(self) -> None:
        """Handle one event. If the first, HELLO, does not come, the socket is closed: no one else knows it."""
        if self._greeted:
            return await super().poll_event()
        try:
            await super().poll_event()
        except BaseException:
            await self.close()
            raise
        self._greeted = True
        return None

    async def change_presence(self, **presence: Any) -> None:
        """Set the presence; nothing without a connection, so that one lost shard fails no call for all of them."""
        if self.open:
            await super().change_presence(**presence)

    async def close(self, code: int = 4000) -> None:
        """Close with ``code``, and wait at most `CLOSE_S` for the other side. 1000 and 1001 end the session."""
        if self._marking is not None:
            self._marking.cancel()  # the next session begins at 1 again
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(CLOSE_S):
                await super().close(code)

    @property
    def own_code(self) -> int | None:
        """The code with which this side has closed the connection; None if the other side did."""
        return self._close_code
