"""The answers that botctl sends when a handler fails, is refused or does not answer."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

import aiohttp
import disnake
from disnake.interactions import Interaction, MessageInteraction

from botctl.bot.interactions.context import Context
from botctl.bot.interactions.decisions import Disposition, LocalizedMessage, should_notify_user
from botctl.bot.interactions.pending import PendingInteraction, forget_original
from botctl.bot.interactions.translations import translate
from botctl.bot.requests.watch import was_refused

SEND_ERRORS: Final = (disnake.DiscordException, aiohttp.ClientError, OSError, TimeoutError, RuntimeError)
"""What sending an answer may raise; aiohttp raises RuntimeError when its session is closed."""
LONG_WAIT_S: Final = 60.0  # a longer wait is shown as a timestamp, not in seconds
_NO_MENTIONS: Final = disnake.AllowedMentions.none()


def outcome_text(disposition: Disposition, locale: str, error_id: str | None, now: datetime) -> str:
    """Return the text for the user. A long wait is shown as a Discord timestamp."""
    message = disposition.message or LocalizedMessage("failed", {"error_id": error_id})
    if message.key == "throttled" and (wait_s := disposition.retry_after_s or 0.0) >= LONG_WAIT_S:
        message = LocalizedMessage("throttled_long", {"at": math.ceil(now.timestamp() + wait_s)})
    return translate(message.key, locale, **message.values)


async def send_notice(pending: PendingInteraction, text: str) -> None:
    """Send ``text`` if `should_notify_user`; only the user sees it, unless the deferral was public.

    A refusal by a limit is not answered by another request, so nothing is sent then.
    Raises SEND_ERRORS if Discord refuses it; most often the interaction has expired.
    """
    inter, ctx = pending.inter, pending.ctx
    if ctx is not None:
        await ctx.wait_for_deferral()
    if was_refused(inter, pending.disposition.error if pending.disposition else None):
        return
    responded = inter.response.is_done()
    answered = responded and not await shows_thinking(pending)
    if not should_notify_user(
        answered=answered, was_answered=pending.was_answered, author_notified=pending.author_notified
    ):
        return
    if not responded:
        await inter.response.send_message(text, ephemeral=True, allowed_mentions=_NO_MENTIONS)
    elif not answered:
        await fill_deferral(inter, ctx, text)
    else:
        await inter.followup.send(text, ephemeral=True, allowed_mentions=_NO_MENTIONS)


async def ensure_answered(pending: PendingInteraction) -> None:
    """Answer for a handler that returned without one, and from which nothing more comes. Raises SEND_ERRORS.

    Nothing is sent if a limit refused the handler's answer.
    """
    inter, locale = pending.inter, pending.invocation.locale
    response = inter.response
    if was_refused(inter):
        return
    if not response.is_done():
        if isinstance(inter, MessageInteraction):
            await inter.response.defer()  # an acknowledgement; the user sees nothing
        else:
            await response.send_message(translate("done", locale), ephemeral=True)
    elif await shows_thinking(pending):
        await fill_deferral(inter, pending.ctx, translate("done", locale))


async def fill_deferral(inter: Interaction[Any], ctx: Context | None, text: str) -> None:
    """Replace "thinking…" by ``text``."""
    if ctx is not None:
        await ctx.reply(text, ephemeral=True, allowed_mentions=_NO_MENTIONS)
    else:
        await inter.edit_original_response(text, allowed_mentions=_NO_MENTIONS)


async def shows_thinking(pending: PendingInteraction) -> bool:
    """Whether the user still sees "thinking…". Discord is asked if no answer was heard of."""
    if not pending.is_deferred:
        return False
    forget_original(pending.inter)  # a copy that the handler fetched still says "thinking…"
    try:
        message = await pending.inter.original_response()
    except disnake.NotFound:
        return False  # the author deleted it
    return message.flags.loading
