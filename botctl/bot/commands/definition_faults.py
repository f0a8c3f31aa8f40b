"""All faults in the commands that a file defines with disnake's decorators, not only the first.

disnake refuses a command while the file is imported, so that nothing after it would be read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from itertools import count
from typing import Any, Final

from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction

from botctl.bot.commands.load_errors import describe_error
from botctl.core.errors import ANYTHING
from botctl.core.signatures import unreadable_annotations

_DEFINED: Final = (
    *(commands.InvokableSlashCommand, commands.InvokableUserCommand, commands.InvokableMessageCommand),
    *(commands.SubCommand, commands.SubCommandGroup),
)
_MAKER: Final = "__init__"
_MARK: Final = "_reports_faults"
_numbers: Final = count()
_report: Final[ContextVar[Callable[[Any, str], None] | None]] = ContextVar("report", default=None)
"""Of the block that runs in this thread: another thread may load files at the same time, and end first."""


@contextmanager
def collect_definition_faults(report: Callable[[Any, str], None]) -> Iterator[None]:
    """Within the block, ``report(function, sentence)`` is called for each command that disnake refuses.

    The command is replaced by an empty one, so that the rest of the file is read. The file must not be used.
    """
    for cls in _DEFINED:
        if not hasattr(getattr(cls, _MAKER), _MARK):
            setattr(cls, _MAKER, _reporting(getattr(cls, _MAKER)))
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def _reporting(make: Callable[..., None]) -> Any:
    """``make``, which outside of a block does what it did."""

    @wraps(make)
    def make_or_report(self: Any, *args: Any, **options: Any) -> None:
        report = _report.get()
        try:
            make(self, *args, **options)
        except ANYTHING as error:  # an author's annotations, converters and options may raise anything
            functions = [value for value in args if inspect.iscoroutinefunction(value)]
            if report is None or not functions:
                raise
            for sentence in _sentences(functions[0], error):
                report(functions[0], sentence)
            make(self, *(_nothing if value is functions[0] else value for value in args), name=f"x{next(_numbers)}")

    setattr(make_or_report, _MARK, True)
    return make_or_report


def _sentences(function: Any, error: BaseException) -> list[str]:
    if isinstance(error, NameError):
        return unreadable_annotations(function, function.__name__, error)
    return [describe_error(error)]


async def _nothing(inter: ApplicationCommandInteraction[Any]) -> None:
    """In place of a function that disnake refuses."""
