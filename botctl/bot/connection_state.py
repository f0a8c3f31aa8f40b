"""Buttons, selects and forms. disnake hands them to views and listeners past all checks; here they come by the gate.

`Gate` is disnake's own connection state with three of its methods extended, the only place that sees a component before
a view does. What disnake starts for it (a view's callback, a form's, listeners) is waited for, and is its handler.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import disnake
from disnake.interactions import Interaction, MessageInteraction, ModalInteraction
from disnake.state import ConnectionState

from botctl.bot.command import MARK
from botctl.bot.decisions import STALE
from botctl.core.contracts.invocation import Kind
from botctl.core.errors import ANYTHING

if TYPE_CHECKING:
    from botctl.bot.client import Bot
    from botctl.bot.pending import Flight

COMPONENT_EVENTS: Final = frozenset({"on_message_interaction", "on_button_click", "on_dropdown", "on_modal_submit"})
_MADE_UP: Final = re.compile(r"[0-9a-f]{32}")  # disnake's own custom ids are 16 random bytes
_KINDS: Final[dict[int, tuple[Kind, Any]]] = {  # Discord: Interactions > Interaction Type
    3: (Kind.COMPONENT, MessageInteraction),
    5: (Kind.MODAL, ModalInteraction),
}


def component_name(custom_id: str) -> str:
    """What a component is called: its custom id up to the second colon; ``view`` where disnake made the id up."""
    if _MADE_UP.fullmatch(custom_id):
        return "view"
    return ":".join(custom_id.split(":", 2)[:2])


class Gate(ConnectionState):
    """disnake's connection state; components and forms go to the pipeline before they go to anybody."""

    def parse_interaction_create(self, data: Any) -> None:
        """Take in an interaction. Commands and autocompletion have public ways of their own."""
        if data["type"] not in _KINDS:
            super().parse_interaction_create(data)
            return
        kind, cls = _KINDS[data["type"]]
        bot = cast("Bot", self._get_client())
        inter: Interaction[Any] = cls(data=data, state=self)
        parse = super().parse_interaction_create
        name = component_name(data["data"]["custom_id"])
        bot.begin(bot.pipeline.run(kind, name, inter, lambda flight: _pass(bot, flight, lambda: parse(data))), name)

    def store_view(self, view: disnake.ui.View, message_id: int | None = None) -> None:
        """Keep a view, and hear of its errors, which it would swallow."""
        _listen(self, view, disnake.ui.View)
        super().store_view(view, message_id)

    def store_modal(self, user_id: int, modal: disnake.ui.Modal) -> None:
        """Keep a form, and hear of its errors."""
        _listen(self, modal, disnake.ui.Modal)
        super().store_modal(user_id, modal)


async def _pass(bot: Bot, flight: Flight, parse: Callable[[], None]) -> None:
    """Admit a component, hand it to disnake, and wait for all that disnake starts for it."""
    pipeline = bot.pipeline
    await pipeline.admit(flight)
    before = asyncio.all_tasks()
    parse()
    tasks = asyncio.all_tasks() - before  # nothing else can have started: parse does not wait
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)
        raise
    if flight.ctx is None and flight.judgement is None and not flight.inter.response.is_done():
        await asyncio.sleep(bot.pipeline.grace_s)  # somebody may have been waiting with wait_for
        if not flight.inter.response.is_done():
            flight.judge(STALE)


def _listen(gate: Gate, item: Any, cls: type[Any]) -> None:
    """Let errors of a view or form be noted before its own ``on_error``; disnake's only prints, and is left out."""
    own = item.on_error
    if hasattr(own, MARK) or not hasattr(
        item, "__dict__"
    ):  # stored before; or disnake's bare Modal, which does nothing
        return
    printing = getattr(own, "__func__", None) is cls.on_error

    async def on_error(*args: Any) -> None:
        error, inter = args[0], args[-1]
        cast("Bot", gate._get_client()).pipeline.note(inter, error, heeded=not printing)  # noqa: SLF001
        if not printing:
            await own(*args)

    work = item._scheduled_task  # noqa: SLF001

    async def scheduled_task(*args: Any) -> None:
        try:
            await work(*args)
        except ANYTHING as error:  # disnake lets SystemExit pass, with which asyncio would end the loop
            await on_error(error, *args)

    setattr(on_error, MARK, {})
    item.on_error = on_error
    item._scheduled_task = scheduled_task  # noqa: SLF001
