"""What can go wrong, what to do next, and how the process ends.

The tree::

    BotctlError                    1   something failed
    ├── UsageError                 2   the words of a call are wrong
    ├── WorkPending                3   something must be done first
    ├── IntegrityError             4   what is stored contradicts itself
    ├── NeedsDecision              5   only a person can decide
    ├── Held                       6   somebody else holds it, or it was lost
    ├── Unreachable                7   a server does not answer           (transient)
    ├── ConfigError               78   a setting is missing or wrong
    │   ├── AssemblyError         78   the services do not fit together
    │   │   ├── MissingNeed       78
    │   │   └── CircularNeed      78
    │   ├── FileFaults            78   files of the project cannot be loaded
    │   │   ├── CommandFaults     78   those in commands/
    │   │   └── MigrationFaults   78   those in migrations/
    │   └── DeadToken             78   Discord refuses the token
    └── ServiceFailed              1   a service did not start, or ended
        └── ServiceTimeout         1   it did not in its time

An error knows its exit code, what to do next (``hint``) and whether trying again may help (``transient``).
Its text is one sentence that says what is wrong and where; `botctl.cli` prints both and exits with the code.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import ClassVar, Final

ANYTHING: Final = (Exception, SystemExit, KeyboardInterrupt)
"""What code that is not botctl's may raise, a cancellation left out. asyncio would end its loop at the last two."""


class ExitCode(enum.IntEnum):
    """How every botctl process ends. Documented in docs/exit-codes.md; ecosystem.config.js relies on it."""

    OK = 0
    FAILED = 1
    USAGE = 2  # Click's own number for a wrong call; never given another meaning
    PENDING = 3
    INTEGRITY = 4
    DECISION = 5
    HELD = 6
    UNREACHABLE = 7
    CONFIG = 78  # EX_CONFIG of sysexits.h
    INTERRUPTED = 130  # 128 + SIGINT
    TERMINATED = 143  # 128 + SIGTERM


class BotctlError(Exception):
    """An expected failure: one sentence, and what to do next.

    ``hint`` is a sentence for the person at the terminal, or empty where the sentence says it all.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    transient: ClassVar[bool] = False

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


class UsageError(BotctlError):
    """The words of a call are wrong."""

    exit_code = ExitCode.USAGE


class WorkPending(BotctlError):
    """Something must be done before this can go on."""

    exit_code = ExitCode.PENDING


class IntegrityError(BotctlError):
    """What is stored contradicts itself."""

    exit_code = ExitCode.INTEGRITY


class NeedsDecision(BotctlError):
    """Only a person can decide how to go on."""

    exit_code = ExitCode.DECISION


class Held(BotctlError):
    """Another process holds what is wanted, or what was held is lost."""

    exit_code = ExitCode.HELD


class Unreachable(BotctlError):
    """A server does not answer."""

    exit_code = ExitCode.UNREACHABLE
    transient = True


def store_hint(store: str, then: str = "try again") -> str:
    """The hint where ``store`` does not answer."""
    return f"Look whether {store} runs (botctl stores), then {then}."


def type_name(error: BaseException) -> str:
    """What ``error`` is, without its text: a driver's holds addresses and everything it has tried."""
    return type(error).__name__


class translated:  # noqa: N801  used like contextlib.suppress
    """A block in which the ``drivers`` errors are Unreachable, with ``sentence`` and ``hint``. It can be entered again.

    ``{error}`` in the sentence stands for what ``said`` makes of the error.
    """

    def __init__(
        self, *drivers: type[Exception], sentence: str, hint: str = "", said: Callable[[BaseException], str] = type_name
    ) -> None:
        self._drivers = drivers
        self._sentence = sentence
        self._hint = hint
        self._said = said

    def __enter__(self) -> None: ...

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._drivers):
            raise Unreachable(self._sentence.replace("{error}", self._said(error)), hint=self._hint) from error


class ConfigError(BotctlError):
    """A setting is missing or wrong; the sentence names the file and line, or the variable."""

    exit_code = ExitCode.CONFIG


class AssemblyError(ConfigError):
    """The services do not fit together; found before any of them starts."""


class MissingNeed(AssemblyError):
    """A factory needs a type that nobody provides."""


class CircularNeed(AssemblyError):
    """Services need each other in a circle; the sentence names the path."""


class FileFaults(ConfigError):
    """Files of one of the project's folders that cannot be loaded, all of them at once.

    ``faults``: one line each, ``file:line: what is wrong``.
    """

    folder: ClassVar[str] = "project's"
    cure: ClassVar[str] = "Correct them."

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        noun = "fault" if count == 1 else "faults"
        lines = "".join(f"\n  {fault}" for fault in self.faults)
        super().__init__(f"{count} {noun} in the {self.folder} folder:{lines}", hint=self.cure)


class CommandFaults(FileFaults):
    """Files in commands/ that cannot be loaded."""

    folder = "commands"
    cure = "Correct them, or start with --skip-broken to leave those files out."


class MigrationFaults(FileFaults):
    """Files in migrations/ that cannot be loaded, or do not follow one another. None is ever left out."""

    folder = "migrations"


class DeadToken(ConfigError):
    """Discord refuses the token. Never retried: every try is an invalid request, and those are counted."""


class ServiceFailed(BotctlError):
    """A service did not start, or one of its tasks ended."""


class ServiceTimeout(ServiceFailed):
    """A service did not start or stop in its time."""
