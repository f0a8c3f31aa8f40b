"""The assertion errors that tests raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from botctl.core.errors import BotctlError
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.commands.options import ClientRejected
from botctl.sandbox.model.commands.visibility import CommandHidden

T = TypeVar("T")


class Failed(AssertionError):
    """The test used something that does not exist, or the bot did not do what it must."""


class Refused(Failed):
    """Discord would refuse this, in its client or its API: a wrong option, a disabled button, a hidden command."""


class NoAnswer(Failed):
    """The bot did not answer in time."""


class BotRaised(Failed):
    """A handler of the bot raised; the exception is the cause (``__cause__``)."""


def translate_errors(action: Callable[[], T]) -> T:
    """Call ``action``; errors of the sandbox become `Failed` or `Refused`."""
    __tracebackhide__ = True
    try:
        return action()
    except ClientRejected as error:
        raise Refused(str(error)) from None
    except ApiError as error:
        raise Refused(f"{error.message} ({error.code}) {error.errors or ''}".strip()) from None
    except BotctlError as error:
        raise (Refused if isinstance(error, CommandHidden) else Failed)(f"{error} {error.hint or ''}".strip()) from None


def quote_names(names: list[str]) -> str:
    return ", ".join(f"“{name}”" for name in names) or "none"
