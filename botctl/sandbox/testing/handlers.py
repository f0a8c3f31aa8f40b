"""Observes the bot's handlers: whether they are running, and what they raise."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, TypeVar, overload
from unittest.mock import patch

import disnake
from disnake.ext import commands, tasks
from disnake.interactions import Interaction

from botctl.core.event_loop.tasks import is_own_cancellation
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.testing.failures import BotRaised, Failed
from botctl.sandbox.testing.notifier import Notifier

E = TypeVar("E", bound=BaseException)
_WAITING_CALLS = frozenset(  # (module, coroutine) in which a task waits for time or for a person: see `_is_waiting`
    {
        ("asyncio.tasks", "sleep"),
        ("asyncio.tasks", "wait_for"),
        ("botctl.stores.cancellation", "wait_for"),  # which replaces it before Python 3.12
        ("asyncio.locks", "wait"),
        ("asyncio.queues", "get"),
        ("disnake.ui.view", "wait"),
    }
)
_RUN_VIEW: Any = disnake.ui.View._scheduled_task  # noqa: SLF001
_RUN_MODAL: Any = disnake.ui.Modal._scheduled_task  # noqa: SLF001
_RUN_LOOP: Any = tasks.Loop._loop  # noqa: SLF001
_REQUEST_MODULES = frozenset({"disnake.http", "disnake.webhook.async_"})
_COG_HANDLERS = {
    "slash": commands.Cog.has_slash_error_handler,
    "user": commands.Cog.has_user_error_handler,
    "message": commands.Cog.has_message_error_handler,
}


class Errors(Sequence[BaseException]):
    """The exceptions of the bot's handlers that no error handler of the bot handled.

    Remaining exceptions fail the test at its end: `take` an expected one.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._all: list[tuple[BaseException, str | None]] = []
        self._notifier = notifier

    @overload
    def __getitem__(self, index: int) -> BaseException: ...
    @overload
    def __getitem__(self, index: slice) -> list[BaseException]: ...
    def __getitem__(self, index: int | slice) -> BaseException | list[BaseException]:
        return [error for error, _ in self._all][index]

    def __len__(self) -> int:
        return len(self._all)

    def take(self, kind: type[E] = BaseException) -> E:  # type: ignore[assignment]
        """Remove and return the first exception of this ``kind``, so that it does not fail the test."""
        __tracebackhide__ = True
        for index, (error, _) in enumerate(self._all):
            if isinstance(error, kind):
                del self._all[index]
                return error
        current = ", ".join(repr(error) for error in self) or "none"
        raise Failed(f"The bot raised no {kind.__name__}; it raised: {current}.")

    def add(self, error: BaseException, where: str, cause: object = None) -> None:
        """Record ``error``; ``where`` describes the handler, ``cause`` is the interaction (or other object) handled."""
        error = getattr(error, "original", error)  # disnake wraps a command's exception
        error.add_note(f"(raised in the bot: {where})")
        error.__traceback__ = _skip_disnake_frames(error.__traceback__)
        interaction_id = str(cause.id) if isinstance(cause, Interaction) else None
        self._all.append((error, interaction_id))
        self._notifier.notify()

    def raised_in(self, interaction_id: str) -> bool:
        """Whether the handler of this interaction raised."""
        return any(cause_id == interaction_id for _, cause_id in self._all)

    def clear(self) -> None:
        self._all.clear()

    def check(self, interaction_id: str | None = None, *, where: str = ".") -> None:
        """Raise BotRaised for the recorded exceptions, or for those of one interaction, and remove them."""
        __tracebackhide__ = True
        raised = [error for error, cause_id in self._all if interaction_id in (None, cause_id)]
        if not raised:
            return
        self._all = [(error, cause_id) for error, cause_id in self._all if error not in raised]
        names = "; ".join(f"{type(error).__name__}: {error}" for error in raised)
        cause = raised[0] if len(raised) == 1 else BaseExceptionGroup("the bot's handlers raised", raised)
        raise BotRaised(f"The bot raised {names}{where}") from cause


class HandlerTasks:
    def __init__(self, bot: disnake.Client, sandbox: Sandbox) -> None:
        self._bot = bot
        self._sandbox = sandbox
        self._ignored: set[asyncio.Task[Any]] = set()

    def ignore_running(self) -> None:
        """Ignore the tasks that run now, such as an ``on_ready`` that never ends."""
        self._ignored = set(asyncio.all_tasks())

    def is_idle(self) -> bool:
        """Whether the bot has received all events and no handler is active. A sleeping handler is not active."""
        return (self._has_received_all() or self._bot.is_closed()) and not any(
            _is_handler(task) and not _is_waiting(task) for task in asyncio.all_tasks() - self._ignored
        )

    def _has_received_all(self) -> bool:
        connected = self._sandbox.sessions.connected()
        return bool(connected) and all(
            getattr(self._bot._get_websocket(shard_id=session.shard[0]), "sequence", None) == session.seq  # noqa: SLF001
            for session in connected
        )


@contextmanager
def capture_errors(bot: disnake.Client, errors: Errors) -> Iterator[None]:
    """Record every exception that disnake would only log, and what it does not catch, such as SystemExit."""
    with ExitStack() as stack:
        for owner, name, replacement in (
            *_client_error_handlers(bot, errors),
            (disnake.ui.View, "on_error", _view_error_handler(errors)),
            (disnake.ui.Modal, "on_error", _modal_error_handler(errors)),
            (tasks.Loop, "_error", _loop_error_handler(errors)),
            (bot, "_run_event", _watch(bot._run_event, errors, lambda _, event, *args: (f"on_{event}", *args[:1]))),  # noqa: SLF001
            (disnake.ui.View, "_scheduled_task", _watch(_RUN_VIEW, errors, _view_name)),
            (disnake.ui.Modal, "_scheduled_task", _watch(_RUN_MODAL, errors, _modal_name)),
            (tasks.Loop, "_loop", _watch(_RUN_LOOP, errors, lambda loop, *_: (f"the loop “{loop.coro.__name__}”",))),
        ):
            stack.enter_context(patch.object(owner, name, replacement))
        yield


def _client_error_handlers(bot: disnake.Client, errors: Errors) -> Iterator[tuple[object, str, Any]]:
    """Replacements for disnake's default error handlers; the bot's own handlers stay."""
    for name, replacement in (
        ("on_error", _listener_error_handler(errors)),
        ("on_gateway_error", _gateway_error_handler(errors)),
        ("on_slash_command_error", _command_error_handler(bot, errors, "slash")),
        ("on_user_command_error", _command_error_handler(bot, errors, "user")),
        ("on_message_command_error", _command_error_handler(bot, errors, "message")),
        ("on_command_error", _prefix_command_error_handler(bot, errors)),
    ):
        current = getattr(bot, name, None)
        if current is not None and current.__module__.startswith("disnake."):
            yield bot, name, replacement


def _skip_disnake_frames(frames: TracebackType | None) -> TracebackType | None:
    """Remove disnake's frames from the top of a traceback, so that it begins in the bot's own code."""
    while frames and frames.tb_next and frames.tb_frame.f_globals.get("__name__", "").startswith("disnake."):
        frames = frames.tb_next
    return frames


def _listener_error_handler(errors: Errors) -> Callable[..., Any]:
    async def on_error(event: str, *args: Any, **_: Any) -> None:
        error = sys.exception()
        if error is not None:
            errors.add(error, f"on_{event}", args[0] if args else None)

    return on_error


def _gateway_error_handler(errors: Errors) -> Callable[..., Any]:
    async def on_gateway_error(event: str, _data: Any, _shard: int | None, error: Exception, /) -> None:
        errors.add(error, f"disnake could not read {event}")

    return on_gateway_error


def _command_error_handler(bot: Any, errors: Errors, kind: str) -> Callable[..., Any]:
    async def on_command_error(inter: Any, error: Exception) -> None:
        command = inter.application_command
        cog = command.cog
        handled = bot.extra_events.get(f"on_{kind}_command_error") or command.has_error_handler()
        if not (handled or (cog and _COG_HANDLERS[kind](cog))):
            errors.add(error, f"the command “{command.qualified_name}”", inter)

    return on_command_error


def _prefix_command_error_handler(bot: Any, errors: Errors) -> Callable[..., Any]:
    async def on_command_error(context: Any, error: Exception) -> None:
        handled = bot.extra_events.get("on_command_error") or (context.command and context.command.has_error_handler())
        if not (handled or isinstance(error, commands.CommandNotFound)):
            errors.add(error, f"the command “{context.command}”")

    return on_command_error


def _watch(run: Callable[..., Any], errors: Errors, name: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """``run``, which runs a handler, but what disnake does not catch is recorded: asyncio would stop, or say nothing.

    ``name``: the arguments of `Errors.add` after the error, from those of ``run``.
    """

    async def watched(*args: Any, **kwargs: Any) -> None:
        try:
            await run(*args, **kwargs)
        except BaseException as error:
            if isinstance(error, Exception) or is_own_cancellation(error):
                raise
            errors.add(error, *name(*args))

    return watched


def _view_name(view: Any, item: Any, inter: Any) -> tuple[str, Any]:
    return f"{type(view).__name__}, {type(item).__name__} “{getattr(item, 'custom_id', '')}”", inter


def _modal_name(modal: Any, inter: Any) -> tuple[str, Any]:
    return f"{type(modal).__name__} “{modal.custom_id}”", inter


def _view_error_handler(errors: Errors) -> Callable[..., Any]:
    async def on_error(view: Any, error: Exception, item: Any, inter: Any) -> None:
        errors.add(error, *_view_name(view, item, inter))

    return on_error


def _modal_error_handler(errors: Errors) -> Callable[..., Any]:
    async def on_error(modal: Any, error: Exception, inter: Any) -> None:
        errors.add(error, *_modal_name(modal, inter))

    return on_error


def _loop_error_handler(errors: Errors) -> Callable[..., Any]:
    async def on_error(loop: tasks.Loop[Any], *args: Any) -> None:
        errors.add(args[-1], f"the loop “{loop.coro.__name__}”")
        if task := loop.get_task():
            task.add_done_callback(_retrieve_exception)

    return on_error


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Keep asyncio from logging the exception of ``task`` as never retrieved."""
    if not task.cancelled():
        task.exception()


def _is_handler(task: asyncio.Task[Any]) -> bool:
    """Whether ``task`` runs a handler, by the name that disnake gives such tasks."""
    return task.get_name().startswith(("disnake: ", "disnake-ui-"))


def _is_waiting(task: asyncio.Task[Any]) -> bool:
    """Whether ``task`` waits for time or for a person, and not for a response of Discord."""
    coroutine: Any = task.get_coro()
    module = function = ""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        module, function = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        inner = frame.f_locals.get("fut") if function == "wait_for" else None
        if module in _REQUEST_MODULES or (
            isinstance(inner, asyncio.Task) and not _is_waiting(inner)
        ):  # until Python 3.11
            return False
        coroutine = coroutine.cr_await
    return (module, function) in _WAITING_CALLS
