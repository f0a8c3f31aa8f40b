"""The context of a handler: the interaction, and methods that answer it, whether it was deferred or answered before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Literal

import disnake
from disnake import InteractionResponseType
from disnake.interactions import Interaction

from botctl.bot.interactions.decisions import is_expired
from botctl.bot.interactions.translations import pick
from botctl.bot.requests.watch import was_refused
from botctl.core.contracts.access_text import Explanation
from botctl.core.contracts.invocation import Invocation
from botctl.core.event_loop.tasks import create_watched_task

_log = logging.getLogger(__name__)
_THINKING = InteractionResponseType.deferred_channel_message
_NO_MENTIONS = disnake.AllowedMentions(everyone=False, users=False, roles=False)


class Context:
    """One interaction. ``inter`` is disnake's own object. ``locale`` is the guild's setting, else the user's."""

    __slots__ = (
        "__weakref__",
        "_defer_task",
        "_defer_timer",
        "_deferral_filled",
        "_deferred_publicly",
        "_inter",
        "_refusal",
        "invocation",
        "shared",
    )

    def __init__(self, inter: Interaction[Any], invocation: Invocation) -> None:
        self._inter = inter
        self.invocation = invocation
        self.shared = False  # whether the author has taken disnake's object out of it
        self._defer_timer: asyncio.TimerHandle | None = None
        self._defer_task: asyncio.Task[None] | None = None
        self._deferral_filled = False
        self._deferred_publicly = False
        self._refusal: disnake.HTTPException | None = None  # of the deferral, by a limit

    @property
    def inter(self) -> Interaction[Any]:
        """Disnake's own object."""
        self.shared = True
        return self._inter

    @property
    def locale(self) -> str:
        """The language to answer in: ``de``, ``en-US``."""
        return self.invocation.locale

    @property
    def user(self) -> disnake.User | disnake.Member:
        """The user who sent the interaction."""
        user: disnake.User | disnake.Member = self._inter.author
        return user

    @property
    def guild(self) -> str | None:
        """The guild's id; None in a direct message."""
        return self.invocation.guild

    @property
    def bot(self) -> Any:
        """Disnake's client."""
        return self._inter.bot

    @property
    def values(self) -> list[str]:
        """The values that the user chose in a select menu."""
        return list(getattr(self._inter, "values", None) or ())

    @property
    def fields(self) -> Mapping[str, str]:
        """What the user entered in a modal, by the custom id of the field."""
        return getattr(self._inter, "text_values", {})

    @property
    def message(self) -> Any:
        """The message with the button or select; None for a command."""
        return getattr(self._inter, "message", None)

    async def explain_access(self, what: str) -> Explanation:
        """Whether the user may use a command (``ops status``) or has a permission (``jobs:run``) here, and why.

        Raises UsageError if there is no such command or permission.
        """
        explanation: Explanation = await self._inter.bot.explain_access(what, self.invocation)
        return explanation

    def pick(self, translations: Mapping[str, str]) -> str:
        """Return the text in this context's language: ``ctx.pick({"en": "Hello", "de": "Hallo"})``."""
        return pick(translations, self.locale)

    async def reply(
        self, content: str | None = None, *, ephemeral: bool = False, mentions: bool = False, **message: Any
    ) -> None:
        """Answer: as the first reply, as the answer to a deferral, or else as a follow-up.

        ``message``: what disnake's ``send`` takes (``embed``, ``embeds``, ``file``, ``components``, ``view``…).
        ``ephemeral``: only the user sees it. After `defer`, the value that `defer` got is used. ``mentions``: notify
        the users and roles in the text, and @everyone; with disnake's ``allowed_mentions`` you say exactly whom.
        """
        _limit_mentions(message, mentions=mentions)
        await self.wait_for_deferral()
        if not self._inter.response.is_done():
            await self._inter.response.send_message(content, ephemeral=ephemeral, **message)
        elif self.thinking and ephemeral and self._deferred_publicly:
            await self._inter.delete_original_response()  # a deferral fixes who sees the answer
            self._deferral_filled = True
            await self._inter.followup.send(content, ephemeral=True, **message)
        elif self.thinking:
            await self._inter.edit_original_response(content, **message)
            self._deferral_filled = True
        else:
            await self._inter.followup.send(content, ephemeral=ephemeral, **message)

    async def edit(self, *, mentions: bool = False, **message: Any) -> None:
        """Edit the message with the pressed button (``content``, ``embed``, ``components``…). ``mentions``: `reply`."""
        _limit_mentions(message, mentions=mentions)
        await self.wait_for_deferral()
        if self._inter.response.is_done():
            await self._inter.edit_original_response(**message)
        else:
            await self._inter.response.edit_message(**message)

    async def ask(self, custom_id: str, *, title: str, components: Any) -> None:
        """Open a modal. It must be the first answer; a ``@modal`` handler gets what the user enters.

        Open a modal with its own callback with disnake's ``ctx.inter.response.send_modal(modal)``.
        """
        await self.wait_for_deferral()
        await self._inter.response.send_modal(title=title, custom_id=custom_id, components=components)

    async def defer(self, *, ephemeral: bool = False) -> None:
        """Tell Discord that the answer takes longer than 3 s."""
        await self.wait_for_deferral()
        if not self._inter.response.is_done():
            await self._inter.response.defer(with_message=True, ephemeral=ephemeral)

    @property
    def thinking(self) -> bool:
        """Whether the user sees "thinking…" and this context has sent nothing since."""
        return not self._deferral_filled and self._inter.response.type is _THINKING

    def defer_after(self, delay_s: float, visibility: Literal["public", "ephemeral"]) -> None:
        """Defer after ``delay_s`` seconds, unless there is an answer by then. Called by the pipeline."""
        self._defer_timer = asyncio.get_running_loop().call_later(
            delay_s, self._begin_deferral, visibility == "ephemeral"
        )

    def successor(self) -> Context:
        """A context in the same state, for the pipeline, so that this one goes when its author lets go of it."""
        other = Context(self._inter, self.invocation)
        other._deferral_filled, other._deferred_publicly = self._deferral_filled, self._deferred_publicly
        other._refusal = self._refusal
        return other

    def cancel_deferral(self) -> None:
        """Cancel the automatic deferral. Called by the pipeline."""
        if self._defer_timer is not None:
            self._defer_timer.cancel()
            self._defer_timer = None

    def _begin_deferral(self, ephemeral: bool) -> None:
        """Start `_defer` as a task."""
        self._defer_timer = None
        if not self._inter.response.is_done() and not was_refused(self._inter):
            self._defer_task = create_watched_task(self._defer(ephemeral), name=f"defer-{self._inter.id}")

    async def _defer(self, ephemeral: bool) -> None:
        try:
            await self._inter.response.defer(with_message=True, ephemeral=ephemeral)
            self._deferred_publicly = not ephemeral
        except disnake.InteractionResponded:
            pass  # the handler was faster
        except disnake.HTTPException as error:
            if was_refused(self._inter):
                self._refusal = error
            if not is_expired(error):  # an expired interaction is reported when the answer fails
                _log.warning("could not defer interaction %s: %s", self._inter.id, error)

    async def wait_for_deferral(self) -> None:
        """Wait for a deferral that is being sent: Discord takes only one first answer. Called by the pipeline.

        Raises HTTPException if a limit refused the deferral: the answer would be refused too, or come after the 3 s.
        """
        self.cancel_deferral()
        if self._defer_task is not None:
            await asyncio.shield(self._defer_task)
            self._defer_task = None
        if self._refusal is not None and not self._inter.response.is_done():
            raise self._refusal


def _limit_mentions(message: dict[str, Any], *, mentions: bool) -> None:
    """Let ``message`` notify no one, unless the command's author says otherwise: its text may be that of a user."""
    if not mentions:
        message.setdefault("allowed_mentions", _NO_MENTIONS)
