"""Compute which services each service depends on, and so the start order. No service is started here."""

from __future__ import annotations

import importlib
import types
import typing
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from botctl.core.errors import ANYTHING, CircularNeed, ConfigError, MissingNeed
from botctl.core.signatures import FACTORY_HINT, Factory, Key, Parameter, label, parameters_of, provided_by


@dataclass(frozen=True, slots=True)
class Spec:
    """A registered service."""

    key: Key
    name: str
    factory: Factory
    parameters: tuple[Parameter, ...]
    depends_on: tuple[Key, ...]  # in addition to the parameters: ready before it starts, stopped after it
    start_s: float  # the most that a start may take
    stop_s: float
    ping: Callable[[Any], Awaitable[str | None]] | None  # returns a detail for people
    drain: Callable[[Any, float], Awaitable[None]] | None = None  # finishes work in flight within this many seconds

    def dependencies(self, known: Collection[Key]) -> tuple[Key, ...]:
        """Types that must be ready before it starts; of the optional ones, only those among ``known``."""
        parameter_keys = (p.key for p in self.parameters if not p.optional or p.key in known)
        return tuple(dict.fromkeys((*parameter_keys, *self.depends_on)))


def load_factory(reference: str) -> Factory:
    """Import the factory that ``reference`` (``module:factory``, as under ``[services]`` in the settings) names.

    Raises:
        ConfigError: the form is wrong, the module or the factory is missing, or it is not a factory.
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
        raise ConfigError(f"{reference!r} is not a factory, it is of type {type(factory).__name__}", hint=FACTORY_HINT)
    provided_by(factory)
    parameters_of(factory)
    return typing.cast(Factory, factory)


def in_order(specs: Mapping[Key, Spec], values: Collection[Key], wanted: Iterable[Key]) -> tuple[Spec, ...]:
    """The services ``wanted`` and their dependencies, each after its own dependencies.

    Raises:
        MissingNeed: a type that is needed is neither a service nor among ``values``, the types of existing objects.
        CircularNeed: services depend on each other in a circle.
    """
    known = {*specs, *values}
    chosen = _reachable(specs, known, wanted)
    graph = {key: [n for n in specs[key].dependencies(known) if n in chosen] for key in specs if key in chosen}
    try:
        return tuple(specs[key] for key in TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise _circular_need(error.args[1], list(specs), specs) from None


def missing(key: Key, path: Iterable[str]) -> MissingNeed:
    """The error for a missing dependency. ``path``: the service that needs it, then the user of that one, and so on."""
    steps = "".join(f", which {name} needs" if i else f"; {name} needs it" for i, name in enumerate(path))
    return MissingNeed(
        f"{label(key)} is not registered{steps}",
        hint="Add its factory under [services] in config/botctl.toml, or correct the annotation.",
    )


def _reachable(specs: Mapping[Key, Spec], known: Collection[Key], wanted: Iterable[Key]) -> set[Key]:
    """The services ``wanted`` and all that they depend on. Raises MissingNeed."""
    chosen: dict[Key, None] = {}  # in the order of discovery, so that the same mistake gives the same sentence
    queue = list(wanted)
    for key in queue:
        if key not in known:
            raise missing(key, _dependents_path(key, [specs[k] for k in chosen], known))
        if key in specs and key not in chosen:
            chosen[key] = None
            queue.extend(specs[key].dependencies(known))
    return set(chosen)


def _dependents_path(key: Key, specs: Iterable[Spec], known: Collection[Key]) -> list[str]:
    """The name of the service that needs ``key``, then of the service that needs that one, and so on."""
    remaining = dict.fromkeys(specs)
    path = []
    while user := next((spec for spec in remaining if key in spec.dependencies(known)), None):
        del remaining[user]
        path.append(user.name)
        key = user.key
    return path


def _circular_need(cycle: list[Key], registered: list[Key], specs: Mapping[Key, Spec]) -> CircularNeed:
    ring = cycle[:0:-1]  # graphlib puts the dependency first, and repeats the first one
    start = min(range(len(ring)), key=lambda i: registered.index(ring[i]))
    ring = ring[start:] + ring[:start]
    path = " -> ".join(specs[key].name for key in (*ring, ring[0]))
    return CircularNeed(
        f"services need each other in a circle: {path}",
        hint="Split one of them, or let them communicate through the bus.",
    )


def _import(module_name: str, reference: str) -> types.ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _import_error(reference, error) from error
        raise ConfigError(f"{reference!r}: there is no module {error.name}", hint="Correct the name.") from None
    except ANYTHING as error:  # an operator's module may raise anything
        raise _import_error(reference, error) from error


def _import_error(reference: str, error: BaseException) -> ConfigError:
    return ConfigError(
        f"{reference!r}: its module cannot be imported: {type(error).__name__}: {error}",
        hint="Correct the module.",
    )
