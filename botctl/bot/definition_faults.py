"""All faults in the commands that a file defines with disnake's decorators, not only the first.

disnake refuses a command while the file is imported, so that nothing after it would be read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from disnake.ext import commands
from disnake.interactions import ApplicationCommandInteraction

from botctl.bot.load_errors import describe_error
from botctl.core.errors import ANYTHING
from botctl.core.signatures import unreadable_annotations

_DEFINED: Final = (
    *(commands.InvokableSlashCommand, commands.InvokableUserCommand, commands.InvokableMessageCommand),
    *(commands.SubCommand, commands.SubCommandGroup),
)
_MAKER: Final = "__init__"


@contextmanager
def collect_definition_faults(report: Callable[[Any, str], None]) -> Iterator[None]:
    """Within the block, ``report(function, sentence)`` is called for each command that disnake refuses.

    The command is replaced by an empty one, so that the rest of the file is read. The file must not be used.
    """
    numbers = count()
    makers = {cls: cls.__init__ for cls in _DEFINED}
    try:
        for cls, make in makers.items():
            setattr(cls, _MAKER, _reporting(make, report, numbers))
        yield
    finally:
        for cls, make in makers.items():
            setattr(cls, _MAKER, make)


def _reporting(make: Callable[..., None], report: Callable[[Any, str], None], numbers: Iterator[int]) -> Any:
    def make_or_report(self: Any, *args: Any, **options: Any) -> None:
        try:
            make(self, *args, **options)
        except ANYTHING as error:  # an author's annotations, converters and options may raise anything
            functions = [value for value in args if inspect.iscoroutinefunction(value)]
            if not functions:
                raise
            for sentence in _sentences(functions[0], error):
                report(functions[0], sentence)
            make(self, *(_nothing if value is functions[0] else value for value in args), name=f"x{next(numbers)}")

    return make_or_report


def _sentences(function: Any, error: BaseException) -> list[str]:
    if isinstance(error, NameError):
        return unreadable_annotations(function, function.__name__, error)
    return [describe_error(error)]


async def _nothing(inter: ApplicationCommandInteraction[Any]) -> None:
    """In place of a function that disnake refuses."""
