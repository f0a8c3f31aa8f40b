"""disnake's client, with every interaction on its way through the pipeline. Nothing of disnake is hidden."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Final
from weakref import WeakSet

import disnake
from disnake import ApplicationCommandType, OptionType
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction, Interaction, MessageInteraction, ModalInteraction

from botctl.bot.connection_state import COMPONENT_EVENTS, PipelineConnectionState, component_name
from botctl.bot.pending import PendingInteraction
from botctl.bot.pipeline import Pipeline
from botctl.core.config.settings import DiscordSettings, Intent
from botctl.core.contracts.events import AutocompleteAnswered, Event, GatewayChanged
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.throttle import Limit
from botctl.core.errors import ANYTHING
from botctl.core.services.registry import Services

_KINDS: Final = {
    ApplicationCommandType.chat_input: Kind.SLASH,
    ApplicationCommandType.user: Kind.USER,
    ApplicationCommandType.message: Kind.MESSAGE,
}
_ERROR_EVENTS: Final = frozenset({"slash_command_error", "user_command_error", "message_command_error"})
_NESTED: Final = (OptionType.sub_command, OptionType.sub_command_group)
_log = logging.getLogger(__name__)


class Bot(commands.InteractionBot):
    """A disnake bot. ``services`` are botctl's, by type, for plain cogs: ``bot.services.get(GuildSettingsStore)``."""

    def __init__(
        self, *, services: Services, publish: Any, settings: DiscordSettings, pipeline: Pipeline, **options: Any
    ) -> None:
        disnake.VoiceClient.warn_nacl = disnake.VoiceClient.warn_dave = False  # no voice, so nothing is missing
        self.pipeline = pipeline  # before disnake asks for its connection state
        super().__init__(
            intents=intents_of(settings.intents),
            command_sync_flags=commands.CommandSyncFlags(
                sync_commands=settings.sync_commands,
                allow_command_deletion=settings.delete_unknown_commands,
                sync_on_cog_actions=False,
                sync_commands_debug=False,
            ),
            test_guilds=[int(guild) for guild in settings.test_guilds] or None,
            **options,
        )
        self.services = services
        self._publish = publish
        self._born = time.monotonic()
        self._watched: WeakSet[commands.InvokableApplicationCommand] = WeakSet()
        self.add_app_command_check(
            self.decide, call_once=True, slash_commands=True, user_commands=True, message_commands=True
        )
        self.add_listener(self._handle_component, "on_message_interaction")
        self.add_listener(self._handle_component, "on_modal_submit")
        for state in ("connect", "ready", "resumed", "disconnect"):
            self.add_listener(partial(self._gateway_changed, state), f"on_{state}")

    @property
    def uptime_s(self) -> float:
        """Seconds since the bot was made."""
        return time.monotonic() - self._born

    def policies(self) -> dict[str, tuple[Limit, ...]]:
        """The limits of everything that people can use, by its name: commands, a cog's too, and components."""
        tree = (each for command in self.application_commands for each in _tree(command))
        names = {each.qualified_name for each in tree if not getattr(each, "children", None)}
        names |= {name for _, name in self.pipeline.handlers}
        return {name: self.pipeline.policy_of(name).limits for name in names}

    def publish(self, event: Event) -> None:
        """Tell an event to the bus of this process."""
        self._publish(event)

    async def process_application_commands(self, interaction: ApplicationCommandInteraction[Any]) -> None:
        """The way of a command: all that disnake does with it happens inside the pipeline."""
        command = self.invoked(interaction)
        if command is not None and command not in self._watched:
            self._watch(command)
        process = super().process_application_commands

        async def work(_: PendingInteraction) -> None:
            await process(interaction)

        kind = _KINDS.get(interaction.data.type, Kind.SLASH)
        await self.pipeline.run(kind, spoken_name(interaction), interaction, work)

    async def process_app_command_autocompletion(self, inter: ApplicationCommandInteraction[Any]) -> None:
        """Suggestions for an option: measured, and nothing else."""
        started = time.monotonic()
        ok = False
        try:
            await super().process_app_command_autocompletion(inter)
            ok = True
        except ANYTHING:  # whatever it raises, the person only gets no suggestions
            _log.exception("suggestions for %s failed", inter.data.name)
        finally:
            took_ms = (time.monotonic() - started) * 1000
            guild = str(inter.guild_id) if inter.guild_id else None
            self._publish(AutocompleteAnswered(guild=guild, name=spoken_name(inter), took_ms=took_ms, ok=ok))

    async def decide(self, inter: ApplicationCommandInteraction[Any]) -> bool:
        """The one check: whether the person may, and not too often. It is called once, whatever groups there are."""
        pending = self.pipeline.pending(inter)
        if pending is not None:
            await self.pipeline.admit(pending)
        return True

    def dispatch(self, event_name: str, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Dispatch. Listeners for errors belong to the command: they may answer before the bot does."""
        if event_name not in _ERROR_EVENTS or not self.get_listeners().get(f"on_{event_name}"):
            super().dispatch(event_name, *args, **kwargs)
            return
        pending = self.pipeline.pending(args[0])
        before = asyncio.all_tasks()
        super().dispatch(event_name, *args, **kwargs)
        if pending is not None:
            pending.helpers |= asyncio.all_tasks() - before

    async def on_error(self, event_method: str, *args: Any, **_: Any) -> None:
        """A listener raised. For a component, that is its outcome; otherwise it is logged."""
        error = sys.exception()
        inter = args[0] if args else None
        if error is not None and isinstance(inter, Interaction) and event_method in COMPONENT_EVENTS:
            self.pipeline.note(inter, error)
        else:
            _log.error("a listener of %s failed", event_method, exc_info=error)

    async def on_slash_command_error(self, *_: Any) -> None:
        """Nothing: the pipeline has heard of it. What disnake does here fails where no command was entered."""

    async def on_user_command_error(self, *_: Any) -> None:
        """Nothing, as above."""

    async def on_message_command_error(self, *_: Any) -> None:
        """Nothing, as above."""

    async def on_gateway_error(self, event: str, _data: Any, shard_id: int | None, exc: Exception, /) -> None:
        """An event of the gateway could not be read."""
        _log.error("the event %s could not be read (shard %s)", event, shard_id, exc_info=exc)

    def invoked(self, inter: ApplicationCommandInteraction[Any]) -> commands.InvokableApplicationCommand | None:
        """The command that ``inter`` calls, without its sub-commands; None when there is none."""
        match inter.data.type:
            case ApplicationCommandType.user:
                return self.all_user_commands.get(inter.data.name)
            case ApplicationCommandType.message:
                return self.all_message_commands.get(inter.data.name)
            case _:
                return self.all_slash_commands.get(inter.data.name)

    def _watch(self, command: commands.InvokableApplicationCommand) -> None:
        """Hear of the errors of ``command`` and its sub-commands first: a local error handler can hide them."""
        self._watched.add(command)
        for each in _tree(command):
            _hear(each, self.pipeline, cog=getattr(command, "cog", None))

    async def _handle_component(self, inter: MessageInteraction[Any] | ModalInteraction[Any]) -> None:
        pending = self.pipeline.pending(inter)
        if pending is None:
            return
        pending.adopt(inter)  # views and listeners answer this one
        custom_id = inter.data.custom_id
        handler_spec = self.pipeline.handlers.get((pending.invocation.kind, component_name(custom_id)))
        if handler_spec is not None:
            await self.pipeline.perform(inter, handler_spec, tuple(custom_id.split(":")[2:]), {})

    async def _gateway_changed(self, state: str) -> None:
        latency_s = self.latency
        known = latency_s == latency_s and latency_s != float("inf")  # noqa: PLR0124  not a number before a heartbeat
        word = {"connect": "connected", "disconnect": "disconnected"}.get(state, state)
        latency_ms = latency_s * 1000 if known else None
        self._publish(GatewayChanged(shard=self.shard_id or 0, state=word, latency_ms=latency_ms))

    async def _run_event(self, coro: Any, event_name: str, *args: Any, **kwargs: Any) -> None:
        """A seam of disnake: its own lets SystemExit pass, with which asyncio would end the loop."""
        try:
            await coro(*args, **kwargs)
        except asyncio.CancelledError:
            pass
        except ANYTHING:
            await self.on_error(event_name, *args, **kwargs)

    def _get_state(self, **options: Any) -> PipelineConnectionState:
        """A seam of disnake: its sharded client puts its state in here."""
        return PipelineConnectionState(
            pipeline=self.pipeline,
            dispatch=self.dispatch,
            handlers=self._handlers,
            hooks=self._hooks,
            http=self.http,
            loop=self.loop,
            **options,
        )


def intents_of(names: Iterable[Intent]) -> disnake.Intents:
    """Intents of disnake by botctl's names; ``default`` is all that need no permission from Discord."""
    intents = disnake.Intents.none()
    for name in names:
        if name is Intent.DEFAULT:
            intents |= disnake.Intents.default()
        else:
            setattr(intents, name.value, True)
    return intents


def spoken_name(inter: ApplicationCommandInteraction[Any]) -> str:
    """What a person would call the command: ``ops status``."""
    name, options = inter.data.name, inter.data.options
    while options and options[0].type in _NESTED:
        name = f"{name} {options[0].name}"
        options = options[0].options
    return name


def _tree(command: commands.InvokableApplicationCommand) -> Iterable[commands.InvokableApplicationCommand]:
    yield command
    for child in getattr(command, "children", {}).values():
        yield from _tree(child)


def _hear(command: commands.InvokableApplicationCommand, pipeline: Pipeline, cog: commands.Cog | None) -> None:
    """Put ourselves before the local error handler of ``command``, which is called with every error there is."""
    own = getattr(command, "on_error", None)
    author_notified = own is not None or (cog is not None and _cog_handles(cog, command))

    async def on_error(*args: Any) -> Any:
        inter, error = args[-2:]
        pipeline.note(inter, error, author_notified=author_notified)
        return await own(*args) if own is not None else None

    command.error(on_error)


def _cog_handles(cog: commands.Cog, command: commands.InvokableApplicationCommand) -> bool:
    if isinstance(command, commands.InvokableUserCommand):
        return cog.has_user_error_handler()
    if isinstance(command, commands.InvokableMessageCommand):
        return cog.has_message_error_handler()
    return cog.has_slash_error_handler()
