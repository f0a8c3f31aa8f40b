"""disnake's client. Every interaction passes the `pipeline` (access, limits, answer); all of disnake stays usable."""

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

from botctl.bot.access_questions import explain_access, matching_questions
from botctl.bot.commands.cog_loads import CogLoads
from botctl.bot.commands.plain_disnake import kind_of_invokable, kind_of_type, with_sub_commands
from botctl.bot.commands.policy import CommandPolicy
from botctl.bot.commands.sync import CommandSync, ListUnknownError
from botctl.bot.connection_state import COMPONENT_EVENTS, PipelineConnectionState
from botctl.bot.gateway.shard_sessions import ShardSessions
from botctl.bot.gateway.shards import RELOGIN_S, Shards
from botctl.bot.interactions.pending import PendingInteraction
from botctl.bot.interactions.pipeline import Pipeline
from botctl.bot.requests.invalid_requests import InvalidRequests
from botctl.bot.requests.outcomes import RequestOutcomes
from botctl.bot.requests.watch import watch_requests
from botctl.bot.sharded_client import ShardedClient
from botctl.core.clock import SystemClock
from botctl.core.config.settings import DiscordSettings, Intent
from botctl.core.contracts.access_text import Explanation
from botctl.core.contracts.events import AutocompleteAnswered, Event
from botctl.core.contracts.invocation import Invocation, Kind, policy_name, suggestions_policy
from botctl.core.contracts.logins import LoginGate
from botctl.core.contracts.throttle import Limit
from botctl.core.errors import ANYTHING
from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.core.services.registry import Services

_ERROR_EVENTS: Final = frozenset({"slash_command_error", "user_command_error", "message_command_error"})
_NESTED: Final = (OptionType.sub_command, OptionType.sub_command_group)
_log = logging.getLogger(__name__)


class Bot(ShardedClient):
    """A disnake bot. ``services``: those of botctl, by type. Cogs use ``bot.services.get(GuildSettingsStore)``."""

    def __init__(
        self,
        *,
        services: Services,
        publish: Any,
        settings: DiscordSettings,
        pipeline: Pipeline,
        logins: LoginGate,
        relogin_s: tuple[float, float] = RELOGIN_S,
        sessions: ShardSessions | None = None,
        **options: Any,
    ) -> None:
        disnake.VoiceClient.warn_nacl = disnake.VoiceClient.warn_dave = False  # the bot uses no voice
        self.pipeline = pipeline  # before super().__init__, which calls _get_state
        self.cog_loads = CogLoads()
        self.command_sync = CommandSync()
        super().__init__(
            partial(
                Shards,
                gate=logins,
                publish=publish,
                wanted=settings.shard_count,
                relogin_s=relogin_s,
                sessions=sessions,
                probe_s=settings.probe_s,
            ),
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
        self.invalid_requests = InvalidRequests(time.monotonic)
        self.request_outcomes = RequestOutcomes(SystemClock())
        watch_requests(self.http, self.invalid_requests, self.request_outcomes, lambda: self.application_id)
        self.services = services
        self._publish = publish
        self._created_s = time.monotonic()
        self._hooked: WeakSet[commands.InvokableApplicationCommand] = WeakSet()
        self.add_app_command_check(
            self.admit, call_once=True, slash_commands=True, user_commands=True, message_commands=True
        )
        self.add_listener(self._handle_component, "on_message_interaction")
        self.add_listener(self._handle_component, "on_modal_submit")

    @property
    def uptime_s(self) -> float:
        """Seconds since the bot was created."""
        return time.monotonic() - self._created_s

    def policies(self) -> dict[str, tuple[Limit, ...]]:
        """Return the limits of every command (a cog's too), its components and suggestions, as `policy_name` writes."""
        nodes = self._command_nodes()
        keys = {(kind_of_invokable(node), node.qualified_name) for node in nodes} | set(self.pipeline.handlers)
        limits = {policy_name(*key): self.pipeline.policy_of(*key).limits for key in keys}
        completed = [suggestions_policy(node.qualified_name) for node in nodes if getattr(node, "autocompleters", None)]
        return limits | dict.fromkeys(completed, self.pipeline.suggestion_limits)

    def _command_nodes(self) -> list[Any]:
        """Every command and sub-command (a cog's too) that a user can call."""
        nodes = (node for command in self.application_commands for node in with_sub_commands(command))
        return [node for node in nodes if not getattr(node, "children", None)]

    def command_policies(self) -> dict[tuple[Kind, str], CommandPolicy]:
        """The policy of every command, by kind and full name."""
        keys = ((kind_of_invokable(node), node.qualified_name) for node in self._command_nodes())
        return {key: self.pipeline.policy_of(*key) for key in keys}

    async def explain_access(self, what: str, invocation: Invocation) -> Explanation:
        """As `access_questions.explain_access`, about the commands of this bot."""
        admission = self.pipeline.admission
        settings = await admission.load_settings(invocation.guild)
        return explain_access(what, invocation, self.command_policies(), settings, admission.access)

    def access_questions(self, typed: str) -> list[str]:
        """At most 25 commands and permissions that contain ``typed``: suggestions for an option."""
        return matching_questions(typed, self.command_policies())

    def has_command(self, kind: Kind, name: str) -> bool:
        """Whether there is a command (with its sub-commands: ``ops status``) of this kind."""
        match kind:
            case Kind.USER:
                return name in self.all_user_commands
            case Kind.MESSAGE:
                return name in self.all_message_commands
            case _:
                return self.get_slash_command(name) is not None

    def publish(self, event: Event) -> None:
        """Publish an event on the bus of this process."""
        self._publish(event)

    def add_cog(self, cog: commands.Cog, *, override: bool = False) -> None:
        """Add a cog without its prefix commands, which botctl does not run. `cog_loads` watches its ``cog_load``."""
        if isinstance(cog, commands.Cog):  # else disnake raises an exception
            vars(cog)["__cog_commands__"] = ()  # `loader` has reported them
        before = asyncio.all_tasks()
        super().add_cog(cog, override=override)
        for task in asyncio.all_tasks() - before:
            self.cog_loads.watch(cog, task)

    def remove_application_command(self, command: commands.InvokableApplicationCommand) -> None:
        """Remove a command of any kind."""
        match kind_of_invokable(command):
            case Kind.USER:
                self.remove_user_command(command.name)
            case Kind.MESSAGE:
                self.remove_message_command(command.name)
            case _:
                self.remove_slash_command(command.name)

    async def on_application_command(self, interaction: ApplicationCommandInteraction[Any]) -> None:
        """Do nothing: `run_command` runs the command. A function of an author in this place decides itself."""

    async def run_command(self, interaction: ApplicationCommandInteraction[Any]) -> None:
        """Run a command. Listeners hear of it when it is claimed, and only then."""
        await self._run_command(interaction, ("application_command", "interaction"))

    async def process_application_commands(self, interaction: ApplicationCommandInteraction[Any]) -> None:
        """Run a command of which listeners have heard."""
        await self._run_command(interaction, ())

    async def _run_command(self, interaction: ApplicationCommandInteraction[Any], events: Iterable[str]) -> None:
        """Run a command: everything that disnake does with it happens inside the pipeline."""
        command = self.find_command(interaction)
        if command is not None and command not in self._hooked:
            self._hook_error_handlers(command)
        process = super().process_application_commands

        async def work(_: PendingInteraction) -> None:
            for event in events:
                self.dispatch(event, interaction)
            await process(interaction)

        kind, name = kind_of_type(interaction.data.type), qualified_name(interaction)
        await self.pipeline.run(kind, name, interaction, work, is_known=self.has_command(kind, name))

    async def process_app_command_autocompletion(self, inter: ApplicationCommandInteraction[Any]) -> None:
        """Suggest values for an option: nothing to those who may not use the command. An event tells the time."""
        started = time.monotonic()
        ok = False
        try:
            if await self.pipeline.admit_suggestions(qualified_name(inter), inter):
                await super().process_app_command_autocompletion(inter)
            else:
                await inter.response.autocomplete(choices=[])
            ok = True
        except ANYTHING as error:  # an author's code; the user gets no suggestions
            if is_own_cancellation(error):
                raise
            _log.exception("suggestions for %s failed", inter.data.name)
        finally:
            took_ms = (time.monotonic() - started) * 1000
            guild = str(inter.guild_id) if inter.guild_id else None
            self._publish(AutocompleteAnswered(guild=guild, name=qualified_name(inter), took_ms=took_ms, ok=ok))

    async def admit(self, inter: ApplicationCommandInteraction[Any]) -> bool:
        """Check access and limits; raise Denied or Throttled. disnake calls this once per command or sub-command."""
        pending = self.pipeline.pending(inter)
        if pending is not None:
            await self.pipeline.admit(pending)
        return True

    def dispatch(self, event_name: str, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Call the listeners of an event. The pipeline waits for error listeners, since they may answer the command."""
        if event_name not in _ERROR_EVENTS or not self.get_listeners().get(f"on_{event_name}"):
            super().dispatch(event_name, *args, **kwargs)
            return
        pending = self.pipeline.pending(args[0])
        before = asyncio.all_tasks()
        super().dispatch(event_name, *args, **kwargs)
        if pending is not None:
            pending.error_listeners |= asyncio.all_tasks() - before

    async def on_error(self, event_method: str, *args: Any, **_: Any) -> None:
        """Handle an error of a listener. That of a component's listener decides the outcome; others are logged."""
        error = sys.exception()
        inter = args[0] if args else None
        if error is not None and isinstance(inter, Interaction) and event_method in COMPONENT_EVENTS:
            self.pipeline.record_error(inter, error)
        else:
            _log.error("a listener of %s failed", event_method, exc_info=error)

    async def on_slash_command_error(self, *_: Any) -> None:
        """Do nothing: the pipeline has recorded the error. disnake's own handler fails if no command was called."""

    async def on_user_command_error(self, *_: Any) -> None: ...

    async def on_message_command_error(self, *_: Any) -> None: ...

    async def on_gateway_error(self, event: str, _data: Any, shard_id: int | None, exc: Exception, /) -> None:
        """Log an event of the gateway that disnake cannot parse."""
        _log.error("the event %s could not be read (shard %s)", event, shard_id, exc_info=exc)

    def find_command(self, inter: ApplicationCommandInteraction[Any]) -> commands.InvokableApplicationCommand | None:
        """Return the command that ``inter`` calls, without its sub-commands; None if there is none."""
        match inter.data.type:
            case ApplicationCommandType.user:
                return self.all_user_commands.get(inter.data.name)
            case ApplicationCommandType.message:
                return self.all_message_commands.get(inter.data.name)
            case _:
                return self.all_slash_commands.get(inter.data.name)

    def _hook_error_handlers(self, command: commands.InvokableApplicationCommand) -> None:
        """Record errors of ``command`` and its sub-commands before a local error handler can hide them."""
        self._hooked.add(command)
        for node in with_sub_commands(command):
            _hook_error_handler(node, self.pipeline, cog=getattr(command, "cog", None))

    async def _handle_component(self, inter: MessageInteraction[Any] | ModalInteraction[Any]) -> None:
        """Call the handler of a button, select menu or modal, if a Command has one."""
        pending = self.pipeline.pending(inter)
        if pending is None:
            return
        pending.adopt(inter)
        custom_id = inter.data.custom_id
        handler_spec = self.pipeline.handlers.get((pending.invocation.kind, pending.invocation.name))
        if handler_spec is not None:
            await self.pipeline.call_handler(inter, handler_spec, tuple(custom_id.split(":")[2:]), {})

    async def fetch_global_commands(self, **options: Any) -> list[Any]:
        """Return the commands at Discord. While they are registered, an error ends that: disnake would go on."""
        try:
            return await super().fetch_global_commands(**options)
        except disnake.HTTPException as error:
            if self.command_sync.is_running and self.command_sync_flags.sync_global_commands:
                raise ListUnknownError from error
            raise

    async def bulk_overwrite_global_commands(self, application_commands: list[disnake.ApplicationCommand]) -> list[Any]:
        """Replace the commands of all guilds. While disnake registers them, errors are recorded in `command_sync`."""
        try:
            return await super().bulk_overwrite_global_commands(application_commands)
        except Exception as error:
            if not self.command_sync.is_running:
                raise
            self.command_sync.fail(None, application_commands, error)
            return []

    async def bulk_overwrite_guild_commands(
        self, guild_id: int, application_commands: list[disnake.ApplicationCommand]
    ) -> list[Any]:
        """Replace the commands of a guild; like `bulk_overwrite_global_commands`."""
        try:
            return await super().bulk_overwrite_guild_commands(guild_id, application_commands)
        except Exception as error:
            if not self.command_sync.is_running:
                raise
            self.command_sync.fail(guild_id, application_commands, error)
            return []

    async def register_commands(self) -> None:
        """Register the commands at Discord, where they differ. `command_sync` knows the result."""
        await self._prepare_application_commands()

    async def _prepare_application_commands(self) -> None:
        """Override of a private method of disnake, which it runs in the background, so that errors would be lost."""
        await self.wait_until_first_connect()
        self.command_sync.begin()
        try:
            await super()._prepare_application_commands()
        except Exception as error:  # noqa: BLE001  the network, or what Discord answers
            cause = error.__cause__ if isinstance(error, ListUnknownError) else None
            if self.command_sync_flags._sync_enabled:  # noqa: SLF001
                known = [command.body for command in self.application_commands_iterator()]
                self.command_sync.fail(None, known, cause if isinstance(cause, Exception) else error)
        finally:
            self.command_sync.end()

    async def _run_event(self, coro: Any, event_name: str, *args: Any, **kwargs: Any) -> None:
        """Override of a private method of disnake, which catches only Exception. SystemExit would end the loop."""
        try:
            await coro(*args, **kwargs)
        except ANYTHING as error:
            if not is_own_cancellation(error):
                await self.on_error(event_name, *args, **kwargs)

    def _get_state(self, **options: Any) -> PipelineConnectionState:
        """Override of a private method of disnake, which its sharded client overrides too."""
        return PipelineConnectionState(
            pipeline=self.pipeline,
            established=self.gateway.established,
            commands=self.gateway.sessions.commands,
            dispatch=self.dispatch,
            handlers=self._handlers,
            hooks=self._hooks,
            http=self.http,
            loop=self.loop,
            **options,
        )


def intents_of(names: Iterable[Intent]) -> disnake.Intents:
    """Return disnake's intents for botctl's names; ``default`` are all that need no permission from Discord."""
    intents = disnake.Intents.none()
    for name in names:
        if name is Intent.DEFAULT:
            intents |= disnake.Intents.default()
        else:
            setattr(intents, name.value, True)
    return intents


def qualified_name(inter: ApplicationCommandInteraction[Any]) -> str:
    """Return the name of the called command with its sub-commands: ``ops status``."""
    name, options = inter.data.name, inter.data.options
    while options and options[0].type in _NESTED:
        name = f"{name} {options[0].name}"
        options = options[0].options
    return name


def _hook_error_handler(
    command: commands.InvokableApplicationCommand, pipeline: Pipeline, cog: commands.Cog | None
) -> None:
    """Wrap the local error handler of ``command``, which disnake calls with every error."""
    original = getattr(command, "on_error", None)
    author_notified = original is not None or (cog is not None and _cog_handles_errors(cog, command))

    async def on_error(*args: Any) -> Any:
        inter, error = args[-2:]
        pipeline.record_error(inter, error, author_notified=author_notified)
        return await original(*args) if original is not None else None

    command.error(on_error)


def _cog_handles_errors(cog: commands.Cog, command: commands.InvokableApplicationCommand) -> bool:
    if isinstance(command, commands.InvokableUserCommand):
        return cog.has_user_error_handler()
    if isinstance(command, commands.InvokableMessageCommand):
        return cog.has_message_error_handler()
    return cog.has_slash_error_handler()
