"""From a Command class to disnake's command objects. What is wrong with the class is found here, before it is used."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeVar

import disnake
from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction

from botctl.bot.command import Command, MessageCommand, UserCommand, command_name, marks, misspelt
from botctl.bot.compiled import Blame, Checks, CommandOptions, CompiledCommand, HandlerSpec, Invokable
from botctl.bot.decisions import CommandPolicy
from botctl.core.contracts.invocation import Kind
from botctl.core.contracts.throttle import parse
from botctl.core.errors import AssemblyError
from botctl.core.signatures import label, parameters_of

T = TypeVar("T")
Parent = commands.InvokableSlashCommand | commands.SubCommandGroup

MAX_DESCRIPTION: Final = 100  # Discord: Application Commands > Application Command Object
MAX_OPTIONS: Final = 25
_MENU_NAME: Final = re.compile(r"\S(.{0,30}\S)?")
_SLASH_NAME: Final = re.compile(r"[-_'\w]{1,32}")  # Discord: Application Command Naming; lower case besides
_PREFIX: Final = "execute_"


class CommandNode(NamedTuple):
    """A class, how it is called with what it is nested in (``ops cache``), and its options."""

    cls: type[Command]
    path: str
    options: CommandOptions


def build(cls: type[Command], checks: Checks, blame: Blame) -> CompiledCommand | None:
    """``cls`` as disnake's command; None when ``blame`` was called."""
    return _Builder(cls, checks, blame).build()


class _Builder:
    def __init__(self, cls: type[Command], checks: Checks, blame: Blame) -> None:
        self._cls = cls
        self._checks = checks
        self._blame = blame
        self._faults = 0
        self._policies: dict[str, CommandPolicy] = {}
        self._handler_specs: list[HandlerSpec] = []
        self._handlers: dict[tuple[Kind, str], HandlerSpec] = {}

    def build(self) -> CompiledCommand | None:
        name = command_name(self._cls)
        node = CommandNode(self._cls, name, CommandOptions.of(self._cls))
        if issubclass(self._cls, (UserCommand, MessageCommand)):
            invokable: Invokable | None = self._menu(node)
        else:
            invokable = self._slash(node)
        self._look_into(node)
        if invokable is None:
            return None
        compiled = CompiledCommand(self._cls, name, invokable, self._policies, self._handler_specs, self._handlers)
        for cls in compiled.classes:
            self._check_needs(cls)
        return compiled if not self._faults else None

    def _fault(self, where: object, sentence: str) -> None:
        self._faults += 1
        self._blame(where, sentence)

    def _menu(self, node: CommandNode) -> Invokable | None:
        name = node.path
        if not _MENU_NAME.fullmatch(name):
            self._fault(self._cls, f"the name {name!r} is not 1 to 32 characters long")
        method = self._method(self._cls, "execute")
        if method is None:
            return None
        if len(inspect.signature(method).parameters) != 3:  # noqa: PLR2004  self, ctx and what it is about
            self._fault(method, "execute takes (self, ctx, target): the user or the message that was chosen")
        handler_spec = self._handler_spec(node, "execute", name)

        async def callback(inter: Any, target: Any) -> None:
            await inter.bot.pipeline.perform(inter, handler_spec, (target,), {})

        made: Any = commands.user_command if issubclass(self._cls, UserCommand) else commands.message_command
        return self._try(method, lambda: made(name=name, contexts=_contexts(node.options))(callback))

    def _slash(self, node: CommandNode) -> commands.InvokableSlashCommand | None:
        name, options = node.path, node.options
        self._check_name(self._cls, name)
        description = self._description(self._cls, self._cls.__doc__, f"command {name!r}")
        children = dict(_children(self._cls))
        if not children:
            callback = self._callback(node, "execute", name)
            if callback is None:
                return None
            return self._try(self._cls.execute, lambda: _slash(name, description, options, callback))  # type: ignore[attr-defined]
        if hasattr(self._cls, "execute"):
            self._fault(self._cls, "it has sub-commands and execute; Discord calls only the sub-commands")
        root = self._try(self._cls, lambda: _slash(name, description, options, _nothing))
        if root is not None:
            self._add_children(root, node)
        return root

    def _add_children(self, parent: Parent, node: CommandNode) -> None:
        children = dict(_children(node.cls))
        if len(children) > MAX_OPTIONS:
            self._fault(node.cls, f"it has {len(children)} sub-commands; Discord allows {MAX_OPTIONS}")
        for name, child in children.items():
            self._check_name(child, name)
            full = f"{node.path} {name}"
            if not isinstance(child, type):
                self._add_sub(parent, node, child.__name__, full)
                continue
            own = CommandNode(child, full, CommandOptions.of(child, node.options))
            if not dict(_children(child)):
                self._add_sub(parent, own, "execute", full)
            elif isinstance(parent, commands.SubCommandGroup):
                self._fault(child, "it is nested too deep: Discord knows command, group and sub-command")
            else:
                group = parent.sub_command_group(name)(_nothing_again())
                self._add_children(group, own)
            self._look_into(own)

    def _add_sub(self, parent: Parent, node: CommandNode, method: str, full: str) -> None:
        callback = self._callback(node, method, full)
        if callback is None:
            return
        function = getattr(node.cls, method)
        doc = node.cls.__doc__ if method == "execute" else function.__doc__
        name, text = full.rpartition(" ")[2], self._description(function, doc, f"sub-command {full!r}")
        sub = self._try(function, lambda: parent.sub_command(name, text)(callback))
        if sub is not None:
            self._check_options(function, sub.option.options)
            callback.__doc__ = None

    def _callback(self, node: CommandNode, method: str, full: str) -> Callable[..., Any] | None:
        function = self._method(node.cls, method)
        options = None if function is None else self._parameters(function)
        if function is None or options is None:
            return None
        handler_spec = self._handler_spec(node, method, full)

        async def callback(__inter__: Any, **chosen: Any) -> None:
            await __inter__.bot.pipeline.perform(__inter__, handler_spec, (), chosen)

        annotation = ApplicationCommandInteraction
        first = inspect.Parameter("__inter__", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=annotation)
        callback.__signature__ = inspect.Signature([first, *options])  # type: ignore[attr-defined]
        # disnake reads the signature and the docstring again at every call: a plain name tells it at once that there
        # is no self, and the docstring is only needed while the options are made
        callback.__name__ = callback.__qualname__ = method
        callback.__doc__ = function.__doc__
        return callback

    def _method(self, cls: type[Command], name: str) -> Callable[..., Any] | None:
        method = getattr(cls, name, None)
        if method is None:
            self._fault(cls, f"{cls.__name__} has no {name}; write `async def {name}(self, ctx: Context) -> None`")
        elif not inspect.iscoroutinefunction(method):
            self._fault(method if inspect.isfunction(method) else cls, f"{name} is not an async function")
        else:
            return method  # type: ignore[no-any-return]
        return None

    def _parameters(self, function: Callable[..., Any]) -> list[inspect.Parameter] | None:
        """The options among the parameters of ``function``, annotations evaluated."""
        try:
            parameters = list(inspect.signature(function, eval_str=True).parameters.values())
        except Exception as error:  # noqa: BLE001  an annotation is an expression, and may raise anything
            self._fault(function, f"an annotation of {function.__name__} cannot be read: {error}")
            return None
        before = self._faults
        if len(parameters) < 2:  # noqa: PLR2004  self and ctx
            self._fault(function, f"{function.__name__} takes at least (self, ctx)")
        if len(parameters) - 2 > MAX_OPTIONS:
            count = len(parameters) - 2
            self._fault(function, f"{function.__name__} has {count} options; Discord allows {MAX_OPTIONS}")
        for parameter in parameters[2:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                self._fault(function, f"parameter {parameter.name} of {function.__name__} cannot be an option")
            elif parameter.annotation is parameter.empty:
                sentence = f"option {parameter.name} has no annotation; write for example `{parameter.name}: str`"
                self._fault(function, sentence)
        if self._faults > before:
            return None
        return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters[2:]]

    def _handler_spec(self, node: CommandNode, method: str, full: str) -> HandlerSpec:
        cls, path, options = node
        if options.defer not in (False, "public", "ephemeral"):
            self._fault(cls, f"defer is {options.defer!r}; it may be False, 'public' or 'ephemeral'")
        self._policies[full] = self._policy_of(cls, options)
        handler_spec = HandlerSpec(cls, method, path, options.defer)
        self._handler_specs.append(handler_spec)
        return handler_spec

    def _policy_of(self, cls: type[Command], options: CommandOptions) -> CommandPolicy:
        limits = self._checks.limits
        if options.throttle is not None:
            try:
                limits = parse(options.throttle)
            except (ValueError, AttributeError) as error:
                self._fault(cls, str(error))
        if isinstance(options.roles, str) or not all(isinstance(role, str) for role in options.roles):
            self._fault(cls, f"roles is {options.roles!r}; write a tuple of names, `roles = ('admin',)`")
            return CommandPolicy(limits)
        for role in options.roles:
            if role not in self._checks.roles:
                known = ", ".join(sorted(self._checks.roles)) or "none"
                self._fault(cls, f"the role {role!r} is not in the settings; write [roles.{role}] (there are: {known})")
        return CommandPolicy(limits, tuple(options.roles))

    def _look_into(self, node: CommandNode) -> None:
        """What a class has besides sub-commands: components and forms, which go by its policy, and slips of the pen."""
        cls, path, options = node
        if path not in self._policies:
            self._policies[path] = self._policy_of(cls, options)
        for attribute, known in misspelt(cls):
            sentence = f"{cls.__name__}.{attribute} means nothing to botctl; did you mean {known}?"
            self._fault(cls, f"{sentence} (if it is your own, call it _{attribute})")
        for attribute, function in inspect.getmembers(cls, inspect.isfunction):
            for mark, kind in (("component", Kind.COMPONENT), ("modal", Kind.MODAL)):
                if mark not in marks(function):
                    continue
                key = (kind, f"{path}:{marks(function)[mark]}")
                if ":" in marks(function)[mark]:
                    self._fault(function, f"the name of {mark} {key[1]!r} has a colon, which separates the parts of it")
                elif key in self._handlers:
                    self._fault(function, f"{mark} {key[1]!r} is handled twice in {cls.__name__}")
                elif self._method(cls, attribute):
                    self._handlers[key] = HandlerSpec(cls, attribute, path)

    def _check_needs(self, cls: type[Command]) -> None:
        try:
            parameters = parameters_of(cls)
        except AssemblyError as error:
            self._fault(cls.__init__, str(error))
            return
        for parameter in parameters:
            if not parameter.optional and not self._checks.provides(parameter.key):
                sentence = f"{cls.__name__} needs {label(parameter.key)}, which no service provides"
                self._fault(cls.__init__, sentence)

    def _check_name(self, where: object, name: str) -> None:
        if not _SLASH_NAME.fullmatch(name) or name != name.lower():
            sentence = f"the name {name!r} is not 1 to 32 lower-case letters, digits, '-' or '_'"
            self._fault(where, sentence)

    def _description(self, where: object, doc: str | None, what: str) -> str:
        text = " ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split())
        if not text:
            self._fault(where, f"{what} has no docstring; it is the description that Discord shows")
        elif len(text) > MAX_DESCRIPTION:
            sentence = f"the description of {what} has {len(text)} characters; Discord allows {MAX_DESCRIPTION}"
            self._fault(where, f"{sentence} (a blank line ends it)")
        return text

    def _check_options(self, where: object, options: list[disnake.Option]) -> None:
        for option in options:
            if len(option.description or "") > MAX_DESCRIPTION:
                length = len(option.description)
                self._fault(where, f"option {option.name} is described in {length} characters, not {MAX_DESCRIPTION}")
            if len(option.choices) > MAX_OPTIONS:
                count = len(option.choices)
                self._fault(where, f"option {option.name} has {count} choices; Discord allows {MAX_OPTIONS}")

    def _try(self, where: object, make: Callable[[], T]) -> T | None:
        """What disnake makes of it; its own complaint becomes a fault."""
        before = self._faults
        try:
            made = make()
        except Exception as error:  # noqa: BLE001  disnake raises many kinds, and converters any
            self._fault(where, f"{type(error).__name__}: {error}")
            return None
        if isinstance(made, commands.InvokableSlashCommand):
            self._check_options(where, made.options)
            made.callback.__doc__ = None
        return made if self._faults == before else None


class _Optionless(commands.InvokableSlashCommand):
    """A command without options: the signature need not be read at every call, as disnake does to fill them in."""

    async def invoke(self, inter: ApplicationCommandInteraction[Any]) -> None:
        if self.children:
            await super().invoke(inter)
        else:
            await commands.InvokableApplicationCommand.invoke(self, inter)


def _children(cls: type[Command]) -> Iterator[tuple[str, Any]]:
    """Sub-commands of ``cls`` by name, in the order in which they are written."""
    for base in reversed(cls.__mro__):
        for attribute, value in vars(base).items():
            if attribute.startswith(_PREFIX) and callable(value):
                yield attribute.removeprefix(_PREFIX).replace("_", "-"), getattr(cls, attribute)
            elif isinstance(value, type) and issubclass(value, Command):
                yield command_name(value), value


def _slash(
    name: str, text: str, options: CommandOptions, callback: Callable[..., Any]
) -> commands.InvokableSlashCommand:
    cls = commands.InvokableSlashCommand if len(inspect.signature(callback).parameters) > 1 else _Optionless
    return cls(callback, name=name, description=text, contexts=_contexts(options))


def _contexts(options: CommandOptions) -> disnake.InteractionContextTypes | None:
    return disnake.InteractionContextTypes(guild=True) if options.guild_only else None


async def _nothing(inter: ApplicationCommandInteraction[Any]) -> None:
    """The body of a command that has sub-commands."""


def _nothing_again() -> Callable[..., Any]:
    async def nothing(inter: ApplicationCommandInteraction[Any]) -> None:
        """Body of a group; disnake marks the function, so that each group needs its own."""

    return nothing
