"""Validate a Command class and build disnake's command objects from it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

import disnake
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction

from botctl.bot.commands.command import (
    Command,
    MessageCommand,
    UserCommand,
    command_name,
    kind_of,
    metadata_of,
    misspelled_options,
)
from botctl.bot.commands.compiled import (
    CommandOptions,
    CompiledCommand,
    HandlerSpec,
    Invokable,
    ReportFault,
    ValidationContext,
)
from botctl.bot.commands.discord_limits import MAX_DESCRIPTION, MAX_OPTIONS, payload, refusals
from botctl.bot.commands.load_errors import missing_service
from botctl.bot.commands.policy import CommandPolicy
from botctl.core.contracts.invocation import ANY_COMPONENT, ANY_ID, Kind, policy_name
from botctl.core.contracts.throttle import parse
from botctl.core.errors import ANYTHING, AssemblyError
from botctl.core.signatures import parameters_of, unreadable_annotations

T = TypeVar("T")
Parent = commands.InvokableSlashCommand | commands.SubCommandGroup

_CONTEXT_MENU_NAME: Final = re.compile(r"\S(.{0,30}\S)?")
_SLASH_NAME: Final = re.compile(r"[-_'\w]{1,32}")  # Discord: Application Command Naming; it must be lower case too
_PREFIX: Final = "execute_"


class CommandNode(NamedTuple):
    """A Command class, its full name (``ops cache``) and its options."""

    cls: type[Command]
    path: str
    options: CommandOptions


def build(cls: type[Command], context: ValidationContext, report_fault: ReportFault) -> CompiledCommand | None:
    """Return ``cls`` as a command of disnake; None if ``report_fault`` was called."""
    return _Builder(cls, context, report_fault).build()


class _Builder:
    def __init__(self, cls: type[Command], context: ValidationContext, report_fault: ReportFault) -> None:
        self._cls = cls
        self._context = context
        self._report_fault = report_fault
        self._fault_count = 0
        self._kind = kind_of(cls)
        self._policies: dict[tuple[Kind, str], CommandPolicy] = {}
        self._handler_specs: list[HandlerSpec] = []
        self._handlers: dict[tuple[Kind, str], HandlerSpec] = {}
        self._located: list[tuple[type[Command], str, str]] = []  # class, method and full name of each handler

    def build(self) -> CompiledCommand | None:
        name = command_name(self._cls)
        node = CommandNode(self._cls, name, CommandOptions.from_class(self._cls))
        if issubclass(self._cls, (UserCommand, MessageCommand)):
            invokable: Invokable | None = self._build_context_menu_command(node)
        else:
            invokable = self._build_slash_command(node)
        self._collect_handlers(node)
        if invokable is None:
            return None
        self._check_payload(invokable)
        compiled = CompiledCommand(self._cls, name, invokable, self._policies, self._handler_specs, self._handlers)
        for cls in compiled.classes:
            self._check_dependencies(cls)
        return compiled if not self._fault_count else None

    def _report(self, where: object, sentence: str) -> None:
        """Report a fault of ``where``, a class or function."""
        self._fault_count += 1
        self._report_fault(where, sentence)

    def _build_context_menu_command(self, node: CommandNode) -> Invokable | None:
        name = node.path
        if not _CONTEXT_MENU_NAME.fullmatch(name):
            self._report(self._cls, f"the name {name!r} is not 1 to 32 characters long")
        method = self._method(self._cls, "execute")
        if method is None:
            return None
        parameters = list(inspect.signature(method).parameters.values())
        if len(parameters) != 3:  # noqa: PLR2004  self, ctx, target
            self._report(method, "execute takes (self, ctx, target): the user or the message that was chosen")
        elif fault := _context_fault("execute", parameters):
            self._report(method, fault)
        handler_spec = self._handler_spec(node, "execute", name)

        async def callback(inter: Any, target: Any) -> None:
            await inter.bot.pipeline.call_handler(inter, handler_spec, (target,), {})

        decorator: Any = commands.user_command if issubclass(self._cls, UserCommand) else commands.message_command
        return self._attempt(method, lambda: decorator(name=name, contexts=_contexts(node.options))(callback))

    def _build_slash_command(self, node: CommandNode) -> commands.InvokableSlashCommand | None:
        name, options = node.path, node.options
        self._check_name(self._cls, name)
        description = self._description(self._cls, self._cls.__doc__, f"command {name!r}")
        children = dict(_sub_commands(self._cls))
        if not children:
            callback = self._callback(node, "execute", name)
            if callback is None:
                return None
            return self._attempt(self._cls.execute, lambda: _new_slash_command(name, description, options, callback))  # type: ignore[attr-defined]
        if hasattr(self._cls, "execute"):
            self._report(self._cls, "it has sub-commands and execute; Discord calls only the sub-commands")
        root = self._attempt(self._cls, lambda: _new_slash_command(name, description, options, _empty_callback))
        if root is not None:
            self._add_sub_commands(root, node)
        return root

    def _add_sub_commands(self, parent: Parent, node: CommandNode) -> None:
        children = dict(_sub_commands(node.cls))
        if len(children) > MAX_OPTIONS:
            self._report(node.cls, f"it has {len(children)} sub-commands; Discord allows {MAX_OPTIONS}")
        for name, child in children.items():
            self._check_name(child, name)
            full_name = f"{node.path} {name}"
            if not isinstance(child, type):
                self._add_sub_command(parent, node, child.__name__, full_name)
                continue
            child_node = CommandNode(child, full_name, CommandOptions.from_class(child, node.options))
            if not dict(_sub_commands(child)):
                self._add_sub_command(parent, child_node, "execute", full_name)
            elif isinstance(parent, commands.SubCommandGroup):
                self._report(child, "it is nested too deep: Discord knows command, group and sub-command")
            else:
                group = parent.sub_command_group(name)(_new_empty_callback())
                self._add_sub_commands(group, child_node)
            self._collect_handlers(child_node)

    def _add_sub_command(self, parent: Parent, node: CommandNode, method: str, full_name: str) -> None:
        callback = self._callback(node, method, full_name)
        if callback is None:
            return
        function = getattr(node.cls, method)
        doc = node.cls.__doc__ if method == "execute" else function.__doc__
        name, text = full_name.rpartition(" ")[2], self._description(function, doc, f"sub-command {full_name!r}")
        sub = self._attempt(function, lambda: parent.sub_command(name, text)(callback))
        if sub is not None:
            callback.__doc__ = None

    def _callback(self, node: CommandNode, method: str, full_name: str) -> Callable[..., Any] | None:
        """Return the function that disnake calls for ``method``; None if ``method`` has a fault."""
        function = self._method(node.cls, method)
        options = None if function is None else self._parameters(function)
        if function is None or options is None:
            return None
        handler_spec = self._handler_spec(node, method, full_name)

        async def callback(__inter__: Any, **values: Any) -> None:
            await __inter__.bot.pipeline.call_handler(__inter__, handler_spec, (), values)

        annotation = ApplicationCommandInteraction
        first = inspect.Parameter("__inter__", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
        callback.__signature__ = inspect.Signature([first, *options])  # type: ignore[attr-defined]
        # disnake reads the signature and the docstring at every call. A qualified name without a dot tells it that
        # there is no self; the docstring is removed once the options are made.
        callback.__name__ = callback.__qualname__ = method
        callback.__doc__ = function.__doc__
        return callback

    def _method(self, cls: type[Command], name: str) -> Callable[..., Any] | None:
        """Return the async method ``name`` of ``cls``; None, with a fault, if there is none."""
        method = getattr(cls, name, None)
        if method is None:
            self._report(cls, f"{cls.__name__} has no {name}; write `async def {name}(self, ctx: Context) -> None`")
        elif inspect.isasyncgenfunction(method):
            self._report(method, f"{name} yields, so calling it would run nothing; remove the `yield`")
        elif not inspect.iscoroutinefunction(method):
            self._report(method if inspect.isfunction(method) else cls, f"{name} is not an async function")
        else:
            return method  # type: ignore[no-any-return]
        return None

    def _parameters(self, function: Callable[..., Any]) -> list[inspect.Parameter] | None:
        """Return the parameters after self and ctx, with evaluated annotations; None if there is a fault."""
        try:
            parameters = list(inspect.signature(function, eval_str=True).parameters.values())
        except ANYTHING as error:  # an annotation is an expression, and may raise anything
            for sentence in unreadable_annotations(function, function.__name__, error):
                self._report(function, sentence)
            return None
        before = self._fault_count
        if fault := _context_fault(function.__name__, parameters):
            self._report(function, fault)
        if len(parameters) - 2 > MAX_OPTIONS:
            count = len(parameters) - 2
            self._report(function, f"{function.__name__} has {count} options; Discord allows {MAX_OPTIONS}")
        for parameter in parameters[2:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                self._report(function, f"parameter {parameter.name} of {function.__name__} cannot be an option")
            elif parameter.annotation is parameter.empty:
                sentence = f"option {parameter.name} has no annotation; write for example `{parameter.name}: str`"
                self._report(function, sentence)
        if self._fault_count > before:
            return None
        return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters[2:]]

    def _handler_spec(self, node: CommandNode, method: str, full_name: str) -> HandlerSpec:
        cls, path, options = node
        if options.defer not in (False, "public", "ephemeral"):
            self._report(cls, f"defer is {options.defer!r}; it may be False, 'public' or 'ephemeral'")
        self._policies[self._kind, full_name] = self._policy_of(cls, options)
        self._located.append((cls, method, full_name))
        handler_spec = HandlerSpec(cls, method, path, options.defer)
        self._handler_specs.append(handler_spec)
        return handler_spec

    def _policy_of(self, cls: type[Command], options: CommandOptions) -> CommandPolicy:
        limits = self._context.limits
        if options.throttle is not None:
            try:
                limits = parse(options.throttle)
            except (ValueError, AttributeError) as error:
                self._report(cls, str(error))
        if isinstance(options.roles, str) or not all(isinstance(role, str) for role in options.roles):
            self._report(cls, f"roles is {options.roles!r}; write a tuple of names, `roles = ('admin',)`")
            return CommandPolicy(limits)
        for role in options.roles:
            if role not in self._context.roles:
                known = ", ".join(sorted(self._context.roles)) or "none"
                self._report(
                    cls, f"the role {role!r} is not in the settings; write [roles.{role}] (there are: {known})"
                )
        return CommandPolicy(limits, tuple(options.roles))

    def _collect_handlers(self, node: CommandNode) -> None:
        """Collect the component and modal handlers of a class, and report misspelled options."""
        cls, path, options = node
        if (self._kind, path) not in self._policies:
            self._policies[self._kind, path] = self._policy_of(cls, options)
        for attribute, option in misspelled_options(cls):
            sentence = f"{cls.__name__}.{attribute} is not an option of botctl; did you mean {option}?"
            self._report(cls, f"{sentence} (if it is your own attribute, name it _{attribute})")
        for attribute, function in inspect.getmembers(cls, inspect.isfunction):
            for marker, kind in (("component", Kind.COMPONENT), ("modal", Kind.MODAL)):
                if marker in metadata_of(function):
                    key = (kind, f"{policy_name(self._kind, path)}:{metadata_of(function)[marker]}")
                    self._add_handler(key, HandlerSpec(cls, attribute, path), function)

    def _add_handler(self, key: tuple[Kind, str], spec: HandlerSpec, function: Callable[..., Any]) -> None:
        """Add the handler of a component or modal, or report what is wrong with it. ``key``: as in the pipeline."""
        kind, full_name = key
        name = metadata_of(function)[kind.value]
        if ":" in name:
            self._report(function, f"the name of {kind} {full_name!r} has a colon, which separates the parts of it")
        elif name in (ANY_ID, ANY_COMPONENT):
            self._report(function, f"the name of {kind} {full_name!r} is reserved; write a word")
        elif key in self._handlers:
            self._report(function, f"{kind} {full_name!r} is handled twice in {spec.cls.__name__}")
        elif self._method(spec.cls, spec.method):
            if fault := _context_fault(spec.method, list(inspect.signature(function).parameters.values())):
                self._report(function, fault)
            self._handlers[key] = spec

    def _check_dependencies(self, cls: type[Command]) -> None:
        """Report services that ``__init__`` needs and that do not exist."""
        try:
            parameters = parameters_of(cls)
        except AssemblyError as error:
            self._report(cls.__init__, str(error))
            return
        for parameter in parameters:
            if not parameter.optional and not self._context.provides(parameter.key):
                self._report(cls.__init__, missing_service(cls.__name__, parameter.key))

    def _check_name(self, where: object, name: str) -> None:
        if not _SLASH_NAME.fullmatch(name) or name != name.lower():
            sentence = f"the name {name!r} is not 1 to 32 lower-case letters, digits, '-' or '_'"
            self._report(where, sentence)

    def _description(self, where: object, doc: str | None, subject: str) -> str:
        """Return the first paragraph of ``doc``. ``subject``: the command's name for a fault."""
        text = " ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split())
        if not text:
            self._report(where, f"{subject} has no docstring; it is the description that Discord shows")
        elif len(text) > MAX_DESCRIPTION:
            sentence = f"the description of {subject} has {len(text)} characters; Discord allows {MAX_DESCRIPTION}"
            self._report(where, f"{sentence} (a blank line ends it)")
        return text

    def _check_payload(self, invokable: Invokable) -> None:
        """Report what Discord would refuse, unless there are faults, which may be the reason."""
        if self._fault_count:
            return
        methods = {path: getattr(cls, method) for cls, method, path in self._located}
        for path, sentence in refusals(payload(invokable)):
            self._report(methods.get(" ".join((invokable.name, *path)), self._cls), sentence)

    def _attempt(self, where: object, make: Callable[[], T]) -> T | None:
        """Return what ``make`` returns; None if disnake raised an exception, which is reported as a fault."""
        before = self._fault_count
        try:
            result = make()
        except ANYTHING as error:  # converters may raise anything
            self._report(where, f"{type(error).__name__}: {error}")
            return None
        if isinstance(result, commands.InvokableSlashCommand):
            result.callback.__doc__ = None
        return result if self._fault_count == before else None


def _context_fault(name: str, parameters: list[inspect.Parameter]) -> str:
    """What is wrong with the parameter after self of the method ``name``, which is the context; empty if nothing is.

    Without it, the method would get the context as its first option: ``async def execute(self, name: str)``.
    """
    least = f"{name} takes at least (self, ctx): the context comes before all options"
    if len(parameters) < 2:  # noqa: PLR2004  self and ctx
        return least
    context = parameters[1]
    annotation = "" if context.annotation is context.empty else str(context.annotation)
    if context.kind is context.VAR_POSITIONAL or "Context" in annotation:
        return ""
    if "Interaction" in annotation or context.name in ("inter", "interaction", "itx"):
        return f"{name} gets a Context and not an interaction, which is ctx.inter; write `(self, ctx: Context, …)`"
    is_context = context.name in ("ctx", "context", "c") or (context.name.startswith("_") and not annotation)
    return "" if is_context and context.kind is not context.KEYWORD_ONLY else least


class _CommandWithoutOptions(commands.InvokableSlashCommand):
    """A command without options. It skips disnake's inspection of the signature at every call."""

    async def invoke(self, inter: ApplicationCommandInteraction[Any]) -> None:
        if self.children:
            await super().invoke(inter)
        else:
            await commands.InvokableApplicationCommand.invoke(self, inter)


def _sub_commands(cls: type[Command]) -> Iterator[tuple[str, Any]]:
    """Yield the sub-commands of ``cls`` with their names, in source order."""
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if attribute.startswith(_PREFIX) and callable(value):
                yield attribute.removeprefix(_PREFIX).replace("_", "-"), getattr(cls, attribute)
            elif isinstance(value, type) and issubclass(value, Command):
                yield command_name(value), value


def _new_slash_command(
    name: str, text: str, options: CommandOptions, callback: Callable[..., Any]
) -> commands.InvokableSlashCommand:
    cls = commands.InvokableSlashCommand if len(inspect.signature(callback).parameters) > 1 else _CommandWithoutOptions
    return cls(callback, name=name, description=text, contexts=_contexts(options))


def _contexts(options: CommandOptions) -> disnake.InteractionContextTypes | None:
    """Return where Discord offers the command; None: everywhere."""
    return disnake.InteractionContextTypes(guild=True) if options.guild_only else None


async def _empty_callback(inter: ApplicationCommandInteraction[Any]) -> None:
    """Do nothing. disnake needs a callback even for a command that has only sub-commands."""


def _new_empty_callback() -> Callable[..., Any]:
    """Return a new `_empty_callback`: disnake stores data on a callback, so each group needs its own."""

    async def nothing(inter: ApplicationCommandInteraction[Any]) -> None:
        """Callback of a group. disnake stores data on it, so each group needs its own."""

    return nothing
