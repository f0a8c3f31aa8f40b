"""Read from the annotations of a factory which services it depends on and which one it provides."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from botctl.core.errors import ANYTHING, AssemblyError

Key = Any  # a class, a NewType or a generic type like list[int]; the three have no common type
Factory = Callable[..., AbstractAsyncContextManager[Any]]

FACTORY_HINT = "Put @asynccontextmanager above it and annotate it `-> AsyncIterator[TheService]`."


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter and its type. ``optional``: it has a default, which is used where no service provides the type."""

    name: str
    key: Key
    optional: bool


def label(key: Key) -> str:
    """The name of a type, for people."""
    return str(getattr(key, "__name__", key))


def unwrap_partial(target: Any) -> Any:
    while isinstance(target, functools.partial):
        target = target.func
    return target


def parameters_of(target: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The parameters that are filled by type, of a function, a partial of one, or a class.

    Raises:
        AssemblyError: a parameter has neither annotation nor default, or an annotation cannot be read.
    """
    bound = target.keywords if isinstance(target, functools.partial) else {}
    hints = _hints(target)
    parameters = []
    for name, parameter in inspect.signature(target).parameters.items():
        if name in bound or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        optional = parameter.default is not parameter.empty
        if name in hints:
            parameters.append(Parameter(name, _without_none(hints[name]) if optional else hints[name], optional))
        elif not optional:
            raise AssemblyError(
                f"parameter {name} of {_location(target)} has no annotation, so its type is not known",
                hint=f"Annotate it with the type of a service: `{name}: TheService`.",
            )
    return tuple(parameters)


def provided_by(factory: Callable[..., Any]) -> Key:
    """The type that ``factory`` yields; None when it is annotated to yield None.

    Raises:
        AssemblyError: it is not an async context manager, or its annotation does not say what it yields.
    """
    if inspect.isasyncgenfunction(factory) or inspect.iscoroutinefunction(factory):
        raise AssemblyError(f"{_location(factory)} is not an async context manager", hint=FACTORY_HINT)
    returned = _hints(factory).get("return")
    origin, arguments = typing.get_origin(returned), typing.get_args(returned)
    if origin not in (AsyncIterator, AsyncGenerator, AbstractAsyncContextManager) or not arguments:
        raise AssemblyError(
            f"{_location(factory)} has no return annotation that says what it yields", hint=FACTORY_HINT
        )
    return None if arguments[0] is types.NoneType else arguments[0]


def _hints(target: Any) -> dict[str, Any]:
    target = unwrap_partial(target)
    if isinstance(target, type):
        target = target.__init__  # type: ignore[misc]  # only read
    elif not inspect.isroutine(target):
        target = target.__call__
    try:
        return typing.get_type_hints(target)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise AssemblyError(
            "; ".join(unreadable_annotations(target, _location(target), error)),
            hint="botctl reads them at run time. Import the types outside `if TYPE_CHECKING:`.",
        ) from error


def _without_none(hint: Any) -> Any:
    """``T`` of ``T | None``; any other type unchanged."""
    types_left = [part for part in typing.get_args(hint) if part is not types.NoneType]
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return types_left[0] if union and len(types_left) == 1 else hint


def _location(target: Any) -> str:
    target = unwrap_partial(target)
    return f"{getattr(target, '__module__', '?')}:{getattr(target, '__qualname__', type(target).__qualname__)}"


def unreadable_annotations(function: Any, shown: str, error: BaseException) -> list[str]:
    """A sentence for each annotation of ``function`` that cannot be evaluated; ``error`` is that of all together."""
    sentences = []
    for name, annotation in getattr(inspect.unwrap(function), "__annotations__", {}).items():
        where = "the returned value" if name == "return" else f"parameter {name}"
        if (fault := _fault_of(annotation, getattr(inspect.unwrap(function), "__globals__", {}))) is not None:
            sentences.append(f"the annotation of {where} of {shown} cannot be read: {fault}")
    return sentences or [f"an annotation of {shown} cannot be read: {error}"]


def _fault_of(annotation: Any, names: dict[str, Any]) -> BaseException | None:
    def probe() -> None: ...

    probe.__annotations__ = {"it": annotation}
    try:
        typing.get_type_hints(probe, names)
    except ANYTHING as error:  # an annotation is an expression, and may raise anything
        return error
    return None
