"""The errors that botctl expects and explains, each with an exit code and a hint.

The tree::

    BotctlError                    1   something failed
    ├── UsageError                 2   the command line or an argument is wrong
    │   └── NotFound               2   it names something that does not exist
    ├── WorkPending                3   something must be done first
    ├── IntegrityError             4   what is stored contradicts itself
    │   └── StoreDamaged           4   a store holds damaged data
    ├── NeedsDecision              5   only a person can decide
    ├── Held                       6   another process holds the lock or lease
    ├── Unreachable                7   a server does not answer           (transient)
    ├── ConfigError               78   a setting is missing or wrong
    │   ├── AssemblyError         78   the services cannot be put together
    │   │   ├── MissingNeed       78
    │   │   └── CircularNeed      78
    │   ├── FileFaults            78   files of the project cannot be loaded
    │   │   ├── CommandFaults     78   those in commands/
    │   │   └── MigrationFaults   78   those in migrations/
    │   ├── CrashLoop             78   the bot crashed again and again for the same reason
    │   ├── DeadToken             78   Discord refuses the token
    │   └── StoreRejects          78   a store rejects the login, the rights or the address
    └── ServiceFailed              1   a service did not start, or ended
        └── ServiceTimeout         1   it did not start or stop in time

``hint`` says what to do next, and ``transient`` whether a retry may help. The text is one sentence that says what is
wrong and where. `botctl.cli` prints both and exits with the code.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import ClassVar, Final, NamedTuple

from botctl.core.event_loop.lag import own_lag_s

ANYTHING: Final = BaseException
"""What an operator's code may raise: SystemExit, a bare BaseException, a panic of an extension.

A coroutine that catches it raises it again if `botctl.core.event_loop.tasks.is_own_cancellation`.
"""


class ExitCode(enum.IntEnum):
    """The exit code of every botctl process. See docs/exit-codes.md; ecosystem.config.js relies on it."""

    OK = 0
    FAILED = 1
    USAGE = 2  # as in Click
    PENDING = 3
    INTEGRITY = 4
    DECISION = 5
    HELD = 6
    UNREACHABLE = 7
    CONFIG = 78  # EX_CONFIG of sysexits.h
    HUNG_UP = 129  # 128 + SIGHUP
    INTERRUPTED = 130  # 128 + SIGINT
    TERMINATED = 143  # 128 + SIGTERM


class BotctlError(Exception):
    """An expected failure: one sentence, and a hint for the operator (may be empty)."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    transient: ClassVar[bool] = False

    def __init__(self, sentence: str, *, hint: str = "") -> None:
        super().__init__(sentence)
        self.hint = hint


class UsageError(BotctlError):
    exit_code = ExitCode.USAGE


class NotFound(UsageError):
    """There is no such job, key, grant or policy."""


class WorkPending(BotctlError):
    exit_code = ExitCode.PENDING


class IntegrityError(BotctlError):
    exit_code = ExitCode.INTEGRITY


class NeedsDecision(BotctlError):
    """A person must decide, and call the command again with their choice."""

    exit_code = ExitCode.DECISION


class Held(BotctlError):
    """Another process holds the lock or lease, or this process lost it."""

    exit_code = ExitCode.HELD


class StoreDamaged(IntegrityError):
    """What a store holds is damaged, or is not what botctl wrote."""


class Unreachable(BotctlError):
    """A store, the sandbox or another process does not answer."""

    exit_code = ExitCode.UNREACHABLE
    transient = True


def store_hint(store: str, then: str = "try again") -> str:
    """The hint for a ``store`` that does not answer. ``then``: what to do when it answers again."""
    return f"Check that {store} is running (botctl stores), then {then}."


def connect_hint(setting: str, url: str, *, answers: bool) -> str:
    """The hint for a store at ``url`` to which a first call failed; ``setting`` is the name of its address.

    ``answers``: it runs, but is not ready. The embedded stores are the ones with a socket file.
    """
    if answers:
        return "It runs. Try again when it is ready; its log says why it is not."
    if url.startswith(("unix:", "mongodb://%2F")):
        return "See the logs in .botctl/logs, and the process that runs it (`botctl stores`)."
    return f"Start that server, or leave {setting} unset to use the embedded one."


def type_name(error: BaseException) -> str:
    """The class name of ``error``, and whether it is a timeout while this process itself was late.

    The text of a driver's error holds addresses, so it is left out.
    """
    late_s = own_lag_s(error)
    note = f", but the event loop of this process was itself {late_s:.1f} s late" if late_s else ""
    return f"{type(error).__name__}{note}"


class ConfigError(BotctlError):
    """A setting is missing or wrong. The sentence names the file and line, or the variable."""

    exit_code = ExitCode.CONFIG


class AssemblyError(ConfigError):
    """The services cannot be put together. Raised before any of them starts."""


class MissingNeed(AssemblyError):
    """A factory depends on a type that no service provides."""


class CircularNeed(AssemblyError):
    """Services depend on each other in a circle. The sentence names the path."""


class FileFaults(ConfigError):
    """All files of one folder that cannot be loaded. ``faults``: a line for each, ``file:line: what is wrong``."""

    folder: ClassVar[str] = "project's"
    default_hint: ClassVar[str] = "Correct them."

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        noun = "fault" if count == 1 else "faults"
        lines = "".join(f"\n  {fault}" for fault in self.faults)
        super().__init__(f"{count} {noun} in the {self.folder} folder:{lines}", hint=self.default_hint)


def together(errors: Sequence[ConfigError]) -> ConfigError:
    """One error with the sentences and hints of all of these, which are not none. A single one stays as it is."""
    if len(errors) == 1:
        return errors[0]
    given = dict.fromkeys(error.hint for error in errors if error.hint)
    hints = [hint for hint in given if not any(other.startswith(f"{hint.rstrip('.')}, ") for other in given)]
    return ConfigError("\n".join(map(str, errors)), hint=" ".join(hints))


class CommandFaults(FileFaults):
    folder = "commands"
    default_hint = "Correct them, or start with --skip-broken to leave those command files out."


class MigrationFaults(FileFaults):
    """Files in migrations/ that cannot be loaded, or are not in sequence. None can be skipped."""

    folder = "migrations"


class CrashLoop(ConfigError):
    """The bot crashed again and again for the same reason; a person must end that."""


class DeadToken(ConfigError):
    """Discord rejects the token. Never retried: Discord counts invalid requests."""


class StoreRejects(ConfigError):
    """A store rejects the login, the rights or the address of the settings. Trying again does not help."""


STORE_FAULTS: Final = (Unreachable, StoreRejects, StoreDamaged)
"""What `translated` raises. At a start it ends the process; a task that runs takes all of them for an outage."""


class DriverFault(enum.Enum):
    """What the error of a driver means."""

    TRANSIENT = enum.auto()  # it may work later
    WRONG = enum.auto()  # it never works with these settings
    DAMAGED = enum.auto()  # it never works with these data
    BUG = enum.auto()  # botctl or the bot's code called the driver wrongly


class Meaning(NamedTuple):
    """The meaning of one error. ``hint`` says what to do (empty: the caller knows better).

    ``cause`` is for what no class and no code tells. ``is_tls``: the two sides can never agree on a trusted connection.
    """

    fault: DriverFault
    hint: str = ""
    cause: str = ""
    is_tls: bool = False


_RAISED: Final[dict[DriverFault, type[BotctlError]]] = {
    DriverFault.TRANSIENT: Unreachable,
    DriverFault.WRONG: StoreRejects,
    DriverFault.DAMAGED: StoreDamaged,
}


def _transient(_error: BaseException) -> Meaning:
    return Meaning(DriverFault.TRANSIENT)


class translated:  # noqa: N801  used like contextlib.suppress
    """A reusable context manager: an error of the types ``drivers`` (of a client) becomes one of `STORE_FAULTS`.

    ``sort`` says what the error means; a bug is left as it is. ``{error}`` in the sentence is replaced by
    ``describe(error)``. `core.driver_errors.mongo` and `core.driver_errors.redis` make those of the two drivers.
    """

    def __init__(
        self,
        *drivers: type[Exception],
        sentence: str,
        hint: str = "",
        describe: Callable[[BaseException], str] = type_name,
        sort: Callable[[BaseException], Meaning] = _transient,
    ) -> None:
        self._drivers = drivers
        self._sentence = sentence
        self._hint = hint
        self._describe = describe
        self._sort = sort

    def __enter__(self) -> None: ...

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._drivers):
            meaning = self._sort(error)
            if (kind := _RAISED.get(meaning.fault)) is not None:
                sentence = self._sentence.replace("{error}", self._describe(error))
                if meaning.cause and meaning.cause not in sentence:
                    sentence = f"{sentence.removesuffix('.')}: {meaning.cause}."
                raise kind(sentence, hint=meaning.hint or self._hint) from error


class ServiceFailed(BotctlError):
    """A service did not start, or one of its tasks ended."""


class ServiceTimeout(ServiceFailed):
    """A service did not start or stop within its time limit."""
