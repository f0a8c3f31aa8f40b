"""What a handler gets: the interaction, and a way to answer that is right whatever happened before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Literal

import disnake
from disnake import InteractionResponseType
from disnake.interactions import Interaction

from botctl.bot.decisions import expired
from botctl.bot.translations import pick
from botctl.core.contracts.invocation import Invocation

_log = logging.getLogger(__name__)
_THINKING = InteractionResponseType.deferred_channel_message


class Context:
    """One interaction, for the one who answers it.

    ``inter`` is disnake's own object, nothing of it is hidden. ``locale`` is the guild's setting, else the person's.
    """

    __slots__ = ("_deferring", "_exposed", "_resolved", "_timer", "inter", "invocation")

    def __init__(self, inter: Interaction[Any], invocation: Invocation) -> None:
        self.inter = inter
        self.invocation = invocation
        self._timer: asyncio.TimerHandle | None = None
        self._deferring: asyncio.Task[None] | None = None
        self._resolved = False
        self._exposed = False

    @property
    def locale(self) -> str:
        """The language to answer in: ``de``, ``en-US``."""
        return self.invocation.locale

    @property
    def user(self) -> disnake.User | disnake.Member:
        """Who did it."""
        user: disnake.User | disnake.Member = self.inter.author
        return user

    @property
    def guild(self) -> str | None:
        """The guild's id; None in a direct message."""
        return self.invocation.guild

    @property
    def bot(self) -> Any:
        """The bot, disnake's client."""
        return self.inter.bot

    @property
    def values(self) -> list[str]:
        """What was chosen in a select."""
        return list(getattr(self.inter, "values", None) or ())

    @property
    def fields(self) -> Mapping[str, str]:
        """What was written into a form, by the custom id of the field."""
        return getattr(self.inter, "text_values", {})

    @property
    def message(self) -> Any:
        """The message that a button or select belongs to; None for a command."""
        return getattr(self.inter, "message", None)

    def pick(self, words: Mapping[str, str]) -> str:
        """The text in the language of this context: ``ctx.pick({"en": "Hello", "de": "Hallo"})``."""
        return pick(words, self.locale)

    async def reply(self, content: str | None = None, *, ephemeral: bool = False, **message: Any) -> None:
        """Answer. The first time this is the reply, after a deferral it fills it, and later on it is a follow-up.

        ``message``: whatever disnake's ``send`` knows (``embed``, ``embeds``, ``file``, ``components``, ``view``…).
        ``ephemeral``: only the person sees it. After `defer` the deferral has decided that; after one that came by
        itself, what is meant for the person alone stays so.
        """
        await self._end_deferral()
        if not self.inter.response.is_done():
            await self.inter.response.send_message(content, ephemeral=ephemeral, **message)
        elif self.thinking and ephemeral and self._exposed:
            await self.inter.delete_original_response()  # Discord fixes who sees it when it is deferred
            self._resolved = True
            await self.inter.followup.send(content, ephemeral=True, **message)
        elif self.thinking:
            await self.inter.edit_original_response(content, **message)
            self._resolved = True
        else:
            await self.inter.followup.send(content, ephemeral=ephemeral, **message)

    async def edit(self, **message: Any) -> None:
        """Change the message that the pressed button belongs to (``content``, ``embed``, ``components``…)."""
        await self._end_deferral()
        if self.inter.response.is_done():
            await self.inter.edit_original_response(**message)
        else:
            await self.inter.response.edit_message(**message)

    async def ask(self, custom_id: str, *, title: str, components: Any) -> None:
        """Show a form. It must be the first answer; what is written into it comes to the ``@modal`` handler.

        A form with a callback of its own is disnake's ``ctx.inter.response.send_modal(form)``.
        """
        await self._end_deferral()
        await self.inter.response.send_modal(title=title, custom_id=custom_id, components=components)

    async def defer(self, *, ephemeral: bool = False) -> None:
        """Tell Discord that the answer takes longer than 3 s."""
        await self._end_deferral()
        if not self.inter.response.is_done():
            await self.inter.response.defer(with_message=True, ephemeral=ephemeral)

    @property
    def thinking(self) -> bool:
        """Whether the person sees "thinking…", and nothing has been sent through this context since."""
        return not self._resolved and self.inter.response.type is _THINKING

    def defer_after(self, delay_s: float, how: Literal["public", "ephemeral"]) -> None:
        """Defer in ``delay_s``, unless there is an answer by then. Called by the pipeline."""
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._begin_deferral, how == "ephemeral")

    def stop_deferral(self) -> None:
        """No answer will come any more. Called by the pipeline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def settle(self) -> None:
        """Wait for a deferral that is on its way. Called by the pipeline."""
        await self._end_deferral()

    def _begin_deferral(self, ephemeral: bool) -> None:
        self._timer = None
        if not self.inter.response.is_done():
            self._deferring = asyncio.create_task(self._defer(ephemeral), name=f"defer-{self.inter.id}")

    async def _defer(self, ephemeral: bool) -> None:
        try:
            await self.inter.response.defer(with_message=True, ephemeral=ephemeral)
            self._exposed = not ephemeral
        except disnake.InteractionResponded:
            pass  # the handler was quicker
        except disnake.HTTPException as error:
            if not expired(error):  # if so, the answer will tell
                _log.warning("could not defer interaction %s: %s", self.inter.id, error)

    async def _end_deferral(self) -> None:
        """Wait for a deferral that is on its way: two first answers at once would be one too many for Discord."""
        self.stop_deferral()
        if self._deferring is not None:
            await asyncio.shield(self._deferring)
            self._deferring = None
