"""What a factory needs and provides, read from its annotations; and the order that follows. Nothing here runs."""

from __future__ import annotations

import functools
import importlib
import inspect
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from botctl.core.errors import ANYTHING, AssemblyError, CircularNeed, ConfigError, MissingNeed

Key = Any  # a class, a NewType or a parametrised generic; the type system has no word for the three together
Factory = Callable[..., AbstractAsyncContextManager[Any]]

_FACTORY_HINT = "Put @asynccontextmanager above it and annotate it `-> AsyncIterator[TheService]`."


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter and the type it asks for. ``optional``: it has a default, kept where nobody provides the type."""

    name: str
    key: Key
    optional: bool


@dataclass(frozen=True, slots=True)
class Spec:
    """A registered service: how it is made, what it needs, and its limits in seconds.

    ``also`` are needs beyond the parameters: they are ready before it starts and stop after it.
    """

    key: Key
    name: str
    factory: Factory
    parameters: tuple[Parameter, ...]
    also: tuple[Key, ...]
    start_s: float
    stop_s: float
    ping: Callable[[Any], Awaitable[str | None]] | None

    def needs(self, known: Collection[Key]) -> tuple[Key, ...]:
        """Types that must be there before it starts; an optional one only if it is among ``known``."""
        asked = (p.key for p in self.parameters if not p.optional or p.key in known)
        return tuple(dict.fromkeys((*asked, *self.also)))


def label(key: Key) -> str:
    """``key`` as a person would write it."""
    return str(getattr(key, "__name__", key))


def unwrapped(target: Any) -> Any:
    """The function or class inside partials."""
    while isinstance(target, functools.partial):
        target = target.func
    return target


def parameters_of(target: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The parameters of a function, a partial of one, or a class, that are to be filled by type.

    Raises:
        AssemblyError: a parameter has neither annotation nor default, or an annotation cannot be read.
    """
    bound = target.keywords if isinstance(target, functools.partial) else {}
    hints = _hints(target)
    found = []
    for name, parameter in inspect.signature(target).parameters.items():
        if name in bound or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        optional = parameter.default is not parameter.empty
        if name in hints:
            found.append(Parameter(name, _without_none(hints[name]) if optional else hints[name], optional))
        elif not optional:
            raise AssemblyError(
                f"parameter {name} of {_where(target)} has no annotation, so nobody can tell what it needs",
                hint=f"Write the type of the service it needs: `{name}: TheService`.",
            )
    return tuple(found)


def provided_by(factory: Callable[..., Any]) -> Key:
    """The type of the service that ``factory`` makes; None when it is annotated to yield None.

    Raises:
        AssemblyError: it is not an async context manager, or its annotation does not say what it yields.
    """
    if inspect.isasyncgenfunction(factory) or inspect.iscoroutinefunction(factory):
        raise AssemblyError(f"{_where(factory)} is not an async context manager", hint=_FACTORY_HINT)
    returned = _hints(factory).get("return")
    origin, arguments = typing.get_origin(returned), typing.get_args(returned)
    if origin not in (AsyncIterator, AsyncGenerator, AbstractAsyncContextManager) or not arguments:
        raise AssemblyError(
            f"{_where(factory)} does not say that it is an async context manager, and of what", hint=_FACTORY_HINT
        )
    return None if arguments[0] is types.NoneType else arguments[0]


def load_factory(reference: str) -> Factory:
    """The factory that ``reference`` (``module:factory``, as under ``[services]`` in the settings) names.

    Raises:
        ConfigError: the form is wrong, or the module or the factory is missing or not fit to be one.
    """
    module_name, _, attribute = reference.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise ConfigError(f"{reference!r} does not name a factory", hint='The form is "package.module:factory".')
    factory: Any = _import(module_name, reference)
    for part in attribute.split("."):
        if not hasattr(factory, part):
            raise ConfigError(f"{reference!r}: module {module_name} has no {attribute}", hint="Correct the name.")
        factory = getattr(factory, part)
    if not callable(factory):
        raise ConfigError(f"{reference!r} is no factory, it is of type {type(factory).__name__}", hint=_FACTORY_HINT)
    provided_by(factory)
    parameters_of(factory)
    return typing.cast(Factory, factory)


def in_order(specs: Mapping[Key, Spec], values: Collection[Key], wanted: Iterable[Key]) -> tuple[Spec, ...]:
    """The services that ``wanted`` need, and they themselves, each after what it needs.

    Raises:
        MissingNeed: one needs, or ``wanted`` names, a type that is neither a service nor among ``values``.
        CircularNeed: services need each other in a circle.
    """
    known = {*specs, *values}
    chosen = _reachable(specs, known, wanted)
    graph = {key: [n for n in specs[key].needs(known) if n in chosen] for key in specs if key in chosen}
    try:
        return tuple(specs[key] for key in TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise _circle(error.args[1], list(specs), specs) from None


def missing(key: Key, path: Iterable[str]) -> MissingNeed:
    """The error for a need that nobody provides; ``path`` names who needs it, who needs that one, and so on."""
    steps = "".join(f", which {name} needs" if i else f"; {name} needs it" for i, name in enumerate(path))
    return MissingNeed(
        f"{label(key)} is not registered{steps}",
        hint="Name its factory under [services] in config/botctl.toml, or correct the annotation.",
    )


def _reachable(specs: Mapping[Key, Spec], known: Collection[Key], wanted: Iterable[Key]) -> set[Key]:
    chosen: dict[Key, None] = {}  # in the order of discovery, so that the same mistake is told in the same words
    todo = list(wanted)
    for key in todo:
        if key not in known:
            raise missing(key, _upwards(key, [specs[k] for k in chosen], known))
        if key in specs and key not in chosen:
            chosen[key] = None
            todo.extend(specs[key].needs(known))
    return set(chosen)


def _upwards(key: Key, specs: Iterable[Spec], known: Collection[Key]) -> list[str]:
    """Names of who needs ``key``, who needs that, up to one that nobody needs."""
    left = dict.fromkeys(specs)
    path = []
    while user := next((spec for spec in left if key in spec.needs(known)), None):
        del left[user]
        path.append(user.name)
        key = user.key
    return path


def _circle(cycle: list[Key], registered: list[Key], specs: Mapping[Key, Spec]) -> CircularNeed:
    ring = cycle[:0:-1]  # graphlib names what is needed first, and the first one twice
    start = min(range(len(ring)), key=lambda i: registered.index(ring[i]))
    ring = ring[start:] + ring[:start]
    path = " -> ".join(specs[key].name for key in (*ring, ring[0]))
    return CircularNeed(
        f"services need each other in a circle: {path}",
        hint="Split one of them, or let one tell the other through the bus.",
    )


def _hints(target: Any) -> dict[str, Any]:
    target = unwrapped(target)
    if isinstance(target, type):
        target = target.__init__  # type: ignore[misc]  # it is only read
    elif not inspect.isroutine(target):
        target = target.__call__
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise AssemblyError(
            f"the annotations of {_where(target)} cannot be read: {error}",
            hint="They are read at run time: import what they name outside `if TYPE_CHECKING:`.",
        ) from error


def _without_none(hint: Any) -> Any:
    """``T`` of ``T | None``; anything else as it is."""
    some = [part for part in typing.get_args(hint) if part is not types.NoneType]
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return some[0] if union and len(some) == 1 else hint


def _where(target: Any) -> str:
    target = unwrapped(target)
    return f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__qualname__)}"


def _import(module_name: str, reference: str) -> types.ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _broken(reference, error) from error
        raise ConfigError(f"{reference!r}: there is no module {error.name}", hint="Correct the name.") from None
    except ANYTHING as error:  # an operator's module may raise anything while it is imported
        raise _broken(reference, error) from error


def _broken(reference: str, error: BaseException) -> ConfigError:
    return ConfigError(
        f"{reference!r}: its module cannot be imported: {type(error).__name__}: {error}",
        hint="Correct the module.",
    )
