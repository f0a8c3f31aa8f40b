"""Route commands, buttons, select menus and modals through the pipeline. disnake passes them on without any check.

An interaction that has arrived before goes no further than here, whatever its kind.

`PipelineConnectionState` extends methods of disnake's connection state for shards, so that it gets a component before a
view does. It waits for the tasks that disnake starts for a component: callbacks of views and modals, and listeners.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Final

import disnake
from disnake.enums import try_enum_to_int
from disnake.interactions import ApplicationCommandInteraction, Interaction, MessageInteraction, ModalInteraction
from disnake.state import AutoShardedConnectionState

from botctl.bot.commands.command import METADATA
from botctl.bot.gateway.shard_sessions import CommandLedger
from botctl.bot.interactions.component_names import class_owner, component_name, message_command
from botctl.bot.interactions.decisions import STALE
from botctl.bot.interactions.pending import PendingInteraction
from botctl.bot.interactions.pipeline import Pipeline
from botctl.core.contracts.invocation import Kind
from botctl.core.errors import ANYTHING
from botctl.core.event_loop.tasks import create_watched_task, is_own_cancellation

COMPONENT_EVENTS: Final = frozenset({"on_message_interaction", "on_button_click", "on_dropdown", "on_modal_submit"})
_COMMAND: Final = 2  # Discord: Interactions > Interaction Type
_AUTOCOMPLETE: Final = 4
_COMPONENT_KINDS: Final[dict[int, tuple[Kind, Any]]] = {  # Discord: Interactions > Interaction Type
    3: (Kind.COMPONENT, MessageInteraction),
    5: (Kind.MODAL, ModalInteraction),
}


class PipelineConnectionState(AutoShardedConnectionState):
    """disnake's connection state for shards. It passes components and modals to ``pipeline`` first.

    ``established`` is called with the number of a shard that has a session, and whether that was resumed.
    ``commands`` hears of each command and component.
    """

    def __init__(
        self, *, pipeline: Pipeline, established: Callable[..., None], commands: CommandLedger, **options: Any
    ) -> None:
        super().__init__(**options)
        self._pipeline = pipeline
        self._commands = commands
        self._established = established
        self._tasks: set[asyncio.Task[None]] = set()

    def parse_ready(self, data: Any) -> None:
        """Begin a session. disnake would keep the guilds that the bot has lost while the shard was away."""
        shard, count, guilds = data["__shard_id__"], self.shard_count or 1, {int(one["id"]) for one in data["guilds"]}
        for lost in [n for n in self._guilds if (n >> 22) % count == shard and n not in guilds]:
            self._remove_guild(self._guilds[lost])
        super().parse_ready(data)
        self._established(shard, resumed=False)

    def restore(self, ready: Any, guilds: Iterable[Any]) -> None:
        """Make the cache as it is after a login: READY and the guilds of a session that another process has begun.

        Then disnake calls ``on_connect``, and ``on_ready`` when all shards are there.
        """
        super().parse_ready(ready)
        for guild in guilds:
            self.parse_guild_create(guild)

    def parse_resumed(self, data: Any) -> None:
        """Go on with a session."""
        super().parse_resumed(data)
        self._established(data["__shard_id__"], resumed=True)

    def parse_interaction_create(self, data: Any) -> None:
        """Handle an interaction. Listeners of disnake's events hear of it when it is claimed.

        Suggestions are not claimed, and have a public hook. An author's own ``on_application_command`` comes first.
        """
        arrivals, number = self._pipeline.arrivals, int(data["id"])
        if not arrivals.admit(number):
            return
        if data["type"] in _COMPONENT_KINDS:
            self._handle_component(data)
        elif data["type"] == _AUTOCOMPLETE and arrivals.is_dead(number):  # the user has stopped typing there
            arrivals.note_late()
        elif data["type"] == _COMMAND and "on_application_command" not in vars(self._get_client()):
            inter: ApplicationCommandInteraction[Any] = ApplicationCommandInteraction(data=data, state=self)
            self._run(inter.bot.run_command(inter), data["data"]["name"], number)
        else:
            super().parse_interaction_create(data)

    def _handle_component(self, data: Any) -> None:
        kind, cls = _COMPONENT_KINDS[data["type"]]
        inter: Interaction[Any] = cls(data=data, state=self)
        parse = super().parse_interaction_create
        name = self._name(kind, inter, data)

        async def dispatch(pending: PendingInteraction) -> None:
            await _dispatch_component(self._pipeline, pending, lambda: parse(data), self._count_waiters)

        self._run(self._pipeline.run(kind, name, inter, dispatch), name, int(data["id"]))

    def _run(self, handling: Coroutine[Any, Any, None], name: str, interaction: int) -> None:
        self._commands.begin(interaction, name)
        task = create_watched_task(handling, name=f"botctl: {name}")
        self._tasks.add(task)  # asyncio keeps only weak references
        task.add_done_callback(partial(self._on_end, interaction))

    def _on_end(self, interaction: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():  # else it has no answer
            self._commands.end(interaction)

    def _count_waiters(self) -> int:
        """How many ``wait_for`` of the author wait for an event."""
        waiters: Iterable[list[Any]] = self._get_client()._listeners.values()  # noqa: SLF001
        return sum(map(len, waiters))

    def _name(self, kind: Kind, inter: Interaction[Any], data: Any) -> str:
        source = message_command(data.get("message") or {}, inter.bot.has_command)
        if source is None and (item := self._stored(inter)) is not None:
            source = class_owner(type(item), inter.bot.cogs)
        pipeline = self._pipeline
        custom_id = data["data"]["custom_id"]
        return component_name(kind, custom_id, handlers=pipeline.handlers, policies=pipeline.policies, source=source)

    def _stored(self, inter: Any) -> disnake.ui.View | disnake.ui.Modal | None:
        """Return the view or modal that disnake will call. Its stores have no public access."""
        if isinstance(inter, ModalInteraction):
            return self._modal_store._modals.get((inter.author.id, inter.custom_id))  # noqa: SLF001
        views, type_ = self._view_store._views, try_enum_to_int(inter.data.component_type)  # noqa: SLF001
        for message_id in (inter.message.id, None):  # None: a persistent view, on any message
            if found := views.get((type_, message_id, inter.data.custom_id)):
                return found[0]
        return None

    def store_view(self, view: disnake.ui.View, message_id: int | None = None) -> None:
        """Store a view, and record its errors, which it would swallow."""
        _report_errors(self._pipeline, view, disnake.ui.View)
        super().store_view(view, message_id)

    def store_modal(self, user_id: int, modal: disnake.ui.Modal) -> None:
        """Store a modal, and record its errors."""
        _report_errors(self._pipeline, modal, disnake.ui.Modal)
        super().store_modal(user_id, modal)


async def _dispatch_component(
    pipeline: Pipeline, pending: PendingInteraction, parse: Callable[[], None], count_waiters: Callable[[], int]
) -> None:
    """Admit a component, hand it to disnake, and wait for the tasks that disnake starts, and for a first answer.

    A view or listener may pass it on to a task of its own, and the task of a ``wait_for`` is not known. So the answer
    is awaited until Discord's deadline is about to pass, unless no code got the component.
    """
    await pipeline.admit(pending)
    before, waiters = asyncio.all_tasks(), count_waiters()
    parse()
    tasks = asyncio.all_tasks() - before  # only tasks of this component: parse does not await
    is_taken = len(tasks) > 1 or count_waiters() != waiters  # one task is botctl's own listener
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)
        raise
    if pending.ctx is None and pending.disposition is None and not pending.inter.response.is_done():
        if is_taken:
            await pipeline.answering.wait_for_first_answer(pending)
        if not pending.inter.response.is_done():
            pending.set_disposition(STALE)


def _report_errors(pipeline: Pipeline, item: Any, cls: type[Any]) -> None:
    """Record errors of a view or modal before its own ``on_error`` runs. disnake's default is skipped."""
    original = item.on_error
    if hasattr(original, METADATA) or not hasattr(
        item, "__dict__"
    ):  # stored before; or disnake's bare Modal, which does nothing
        return
    is_default = getattr(original, "__func__", None) is cls.on_error

    async def on_error(*args: Any) -> None:
        error, inter = args[0], args[-1]
        pipeline.record_error(inter, error, author_notified=not is_default)
        if not is_default:
            await original(*args)

    original_task = item._scheduled_task  # noqa: SLF001

    async def scheduled_task(*args: Any) -> None:
        try:
            await original_task(*args)
        except ANYTHING as error:  # disnake catches only Exception. SystemExit would end the event loop
            if is_own_cancellation(error):
                raise
            await on_error(error, *args)

    setattr(on_error, METADATA, {})
    item.on_error = on_error
    item._scheduled_task = scheduled_task  # noqa: SLF001
