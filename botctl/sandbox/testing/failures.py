"""What a test is told when something is not as it must be: assertions with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from botctl.core.errors import BotctlError
from botctl.sandbox.model.api_error import ApiError
from botctl.sandbox.model.commands.options import ClientRejected
from botctl.sandbox.model.visibility import Hidden

T = TypeVar("T")


class Failed(AssertionError):
    """The test asked for what is not there, or the bot did not do what it must."""


class Refused(Failed):
    """Discord's own client would not have sent this: an option is wrong, a button disabled, a command not allowed."""


class NoAnswer(Failed):
    """The bot let a person wait."""


class BotRaised(Failed):
    """A handler of the bot raised; the exception is the cause (``__cause__``)."""


def translate_errors(act: Callable[[], T]) -> T:
    """What ``act`` returns; the sandbox's own errors become a `Failed` or `Refused` that ends the test."""
    __tracebackhide__ = True
    try:
        return act()
    except ClientRejected as wrong:
        raise Refused(str(wrong)) from None
    except ApiError as refusal:
        raise Refused(f"{refusal.message} ({refusal.code}) {refusal.errors or ''}".strip()) from None
    except BotctlError as error:
        raise (Refused if isinstance(error, Hidden) else Failed)(f"{error} {error.hint or ''}".strip()) from None


def quote_names(names: list[str]) -> str:
    """``names`` for a sentence."""
    return ", ".join(f"“{name}”" for name in names) or "none"
