"""Buttons, selects and forms. disnake hands them to views and listeners past all checks; here they meet the pipeline.

`PipelineConnectionState` is disnake's own connection state with three of its methods extended: it sees a component
before a view does, and nothing else does. What disnake starts for a component (a view's callback, a form's, listeners)
is waited for, and is its handler.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

import disnake
from disnake.interactions import Interaction, MessageInteraction, ModalInteraction
from disnake.state import ConnectionState

from botctl.bot.command import MARK
from botctl.bot.decisions import STALE
from botctl.bot.pending import PendingInteraction
from botctl.bot.pipeline import Pipeline
from botctl.core.contracts.invocation import Kind
from botctl.core.errors import ANYTHING

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


class PipelineConnectionState(ConnectionState):
    """disnake's connection state; components and forms go to ``pipeline`` before they go to anybody."""

    def __init__(self, *, pipeline: Pipeline, **options: Any) -> None:
        super().__init__(**options)
        self._pipeline = pipeline
        self._begun: set[asyncio.Task[None]] = set()

    def parse_interaction_create(self, data: Any) -> None:
        """Take in an interaction. Commands and autocompletion have public ways of their own."""
        if data["type"] not in _KINDS:
            super().parse_interaction_create(data)
            return
        kind, cls = _KINDS[data["type"]]
        inter: Interaction[Any] = cls(data=data, state=self)
        parse = super().parse_interaction_create
        name = component_name(data["data"]["custom_id"])

        async def work(pending: PendingInteraction) -> None:
            await _pass(self._pipeline, pending, lambda: parse(data))

        task = asyncio.create_task(self._pipeline.run(kind, name, inter, work), name=f"botctl: {name}")
        self._begun.add(task)  # asyncio itself keeps no task alive
        task.add_done_callback(self._begun.discard)

    def store_view(self, view: disnake.ui.View, message_id: int | None = None) -> None:
        """Keep a view, and hear of its errors, which it would swallow."""
        _listen(self._pipeline, view, disnake.ui.View)
        super().store_view(view, message_id)

    def store_modal(self, user_id: int, modal: disnake.ui.Modal) -> None:
        """Keep a form, and hear of its errors."""
        _listen(self._pipeline, modal, disnake.ui.Modal)
        super().store_modal(user_id, modal)


async def _pass(pipeline: Pipeline, pending: PendingInteraction, parse: Callable[[], None]) -> None:
    """Admit a component, hand it to disnake, and wait for all that disnake starts for it."""
    await pipeline.admit(pending)
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
    if pending.ctx is None and pending.disposition is None and not pending.inter.response.is_done():
        await asyncio.sleep(pipeline.grace_s)  # somebody may have been waiting with wait_for
        if not pending.inter.response.is_done():
            pending.set_disposition(STALE)


def _listen(pipeline: Pipeline, item: Any, cls: type[Any]) -> None:
    """Let errors of a view or form be noted before its own ``on_error``; disnake's only prints, and is left out."""
    own = item.on_error
    if hasattr(own, MARK) or not hasattr(
        item, "__dict__"
    ):  # stored before; or disnake's bare Modal, which does nothing
        return
    printing = getattr(own, "__func__", None) is cls.on_error

    async def on_error(*args: Any) -> None:
        error, inter = args[0], args[-1]
        pipeline.note(inter, error, author_notified=not printing)
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
