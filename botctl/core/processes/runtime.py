"""The list of the running embedded parts of a project, and their locks.

``.botctl/runtime.json`` lists the embedded parts (stores, sandbox), so that other terminals find them.
``.botctl/*.lock`` are flock(2) locks, which the kernel releases when their holder ends.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botctl.core.clock import Clock
from botctl.core.errors import BotctlError, ConfigError, Held
from botctl.core.files.paths import STATE_FOLDER, state_folder
from botctl.core.processes.process import is_running, start_time, terminate

_log = logging.getLogger(__name__)

FILE: Final = "runtime.json"
RUN_LOCKS: Final = ("bot", "realtime", "jobs", "web", "stores")
"""The locks of a `botctl run`: its roles."""
_NOBODY: Final = "0"  # in a free lock: no process has this id
_NOT_PERMITTED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A running embedded part and the process that owns it. ``runtime.json`` has the same field names."""

    name: str
    pid: int
    started: str  # `process.start_time` of the part
    address: str
    owner_pid: int
    owner_started: str
    secret: str | None = field(default=None, repr=False)  # of its control API, if it has one
    lasting: bool = False  # its owner is a `botctl run`, not a short command

    @property
    def owned(self) -> bool:
        """Whether its owner still runs. The part itself may be restarting."""
        return is_running(self.owner_pid, self.owner_started)

    @property
    def live(self) -> bool:
        """Whether the part and its owner run."""
        return self.owned and is_running(self.pid, self.started)


@dataclass(frozen=True, slots=True)
class Run:
    """A `botctl run` of this project on this host. ``pid``: None if a full disk kept it from writing that down."""

    pid: int | None
    roles: tuple[str, ...]

    def __str__(self) -> str:
        """For people: ``process 12 (bot, jobs)``."""
        return f"{'another process' if self.pid is None else f'process {self.pid}'} ({', '.join(self.roles)})"


class Runtime:
    """The ``.botctl`` folder of one project, as this process uses it.

    ``long_lived``: it is a `botctl run`. ``exclusive``: it runs the embedded parts itself and joins no others.
    ``read_only``: the folder is not created, nor its mode put right. Every method raises BotctlError when the folder
    cannot be read or written.
    """

    def __init__(
        self, root: Path, *, long_lived: bool = False, exclusive: bool = False, read_only: bool = False
    ) -> None:
        self.root = root
        self.long_lived = long_lived
        self.exclusive = exclusive
        self.folder = root / STATE_FOLDER if read_only else state_folder(root)

    def log(self, name: str) -> Path:
        """The log file of the part ``name``."""
        return self.folder / "logs" / f"{name}.log"

    def live(self) -> dict[str, Part]:
        """The listed parts, by name, that run and have an owner."""
        return {name: part for name, part in self.parts().items() if part.live}

    def parts(self) -> dict[str, Part]:
        """All listed parts, by name, including those that have died."""
        path = self.folder / FILE
        try:
            listed = json.loads(path.read_bytes())
            return {part.name: part for part in (_parse_part(item) for item in listed)}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _file_error("read", path, error) from error
        except (ValueError, TypeError):  # truncated by a crash, or of another version
            return {}

    def other_owner(self, names: Collection[str]) -> int | None:
        """The process id of another `botctl run` that has one of the parts ``names``, which may be restarting."""
        others = (part for part in self.parts().values() if part.name in names and part.lasting and part.owned)
        return next((part.owner_pid for part in others if part.owner_pid != os.getpid()), None)

    def publish(self, name: str, *, pid: int, address: str, secret: str | None = None) -> Part:
        """List the part ``name`` of this process. Replaces an entry of that name."""
        part = Part(
            name=name,
            pid=pid,
            started=start_time(pid) or "",
            address=address,
            secret=secret,
            owner_pid=os.getpid(),
            owner_started=start_time(os.getpid()) or "",
            lasting=self.long_lived,
        )
        with self._edit() as parts:
            parts[name] = part
        return part

    def unpublish(self, name: str) -> None:
        """Remove the part ``name`` of this process from the list.

        If the file cannot be written, the entry stays. Readers see from its process id that it has ended.
        """
        try:
            with self._edit() as parts:
                if name in parts and parts[name].owner_pid == os.getpid():
                    del parts[name]
        except BotctlError as error:
            _log.warning("%s", error)

    async def terminate_leftover(self, name: str, *, limit_s: float = 5.0) -> None:
        """Terminate the part ``name`` of an owner that has ended, and remove it from the list.

        The caller must hold the lock of the part. Raises Held if the part survives.
        """
        part = self.parts().get(name)
        if part is None:
            return
        await terminate(part.pid, part.started, limit_s=limit_s)
        with self._edit() as parts:
            if parts.get(name) == part:
                del parts[name]

    @contextmanager
    def lock(self, name: str, *, message: str = "", hint: str = "") -> Iterator[None]:
        """Hold the lock ``name``, exclusive in the project.

        Raises:
            Held: another process holds it. The sentence is "Process <id> ``message`` of this project".
        """
        with self._locked(name, fcntl.LOCK_EX | fcntl.LOCK_NB, message, hint) as descriptor:
            _write_holder(descriptor, f"{os.getpid()} {start_time(os.getpid()) or ''}")
            try:
                yield
            finally:
                _write_holder(descriptor, _NOBODY)

    @contextmanager
    def lock_shared(self, name: str) -> Iterator[None]:
        """Share the lock ``name`` with others. Raises Held if a process holds it with `lock`."""
        with self._locked(name, fcntl.LOCK_SH | fcntl.LOCK_NB):
            yield

    def holder(self, name: str) -> int | None:
        """The process id of the holder of the lock ``name``, as far as it is known without taking the lock."""
        with suppress(OSError):
            return _running_holder((self.folder / f"{name}.lock").read_bytes())
        return None

    def runs(self) -> tuple[Run, ...]:
        """The `botctl run` processes of this project on this host, found by their locks. Works on a full disk, too."""
        roles: dict[int | None, list[str]] = {}
        for name in RUN_LOCKS:
            pid = self.holder(name)
            if pid is not None or self._is_held_by_unknown(name):
                roles.setdefault(pid, []).append(name)
        return tuple(Run(pid, tuple(names)) for pid, names in roles.items())

    def _is_held_by_unknown(self, name: str) -> bool:
        """Whether a process holds the lock ``name`` that could not write its id into it.

        Only then is the lock tried: for that moment, no other process could take it.
        """
        with suppress(OSError):
            descriptor = os.open(self.folder / f"{name}.lock", os.O_RDONLY)
            try:
                if not os.fstat(descriptor).st_size:
                    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
        return False

    @contextmanager
    def _locked(self, name: str, how: int, message: str = "", hint: str = "") -> Iterator[int]:
        """Hold the lock as flock(2) takes it with ``how``; yields the descriptor of its file."""
        path = self.folder / f"{name}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _file_error("written", path, error) from error
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                raise _held_error(os.pread(descriptor, 200, 0), message or f"already has {name}", hint) from None
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _edit(self) -> Iterator[dict[str, Part]]:
        """Lock and yield the list, for the block to change; then write it in one step."""
        with self._locked("runtime", fcntl.LOCK_EX):
            parts = self.parts()
            before = dict(parts)
            yield parts
            if parts != before:
                self._write([dataclasses.asdict(part) for part in parts.values()])

    def _write(self, listed: list[dict[str, Any]]) -> None:
        path = self.folder / FILE
        new_file = path.with_suffix(".new")
        try:
            with open(os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
                json.dump(listed, file, indent=1)
            new_file.replace(path)
        except OSError as error:
            new_file.unlink(missing_ok=True)
            raise _file_error("written", path, error) from error


class PartAddress:
    """The address of the live part ``name``, for servers that need it often: it is looked up once in `LOOK_S`."""

    LOOK_S: Final = 1.0

    def __init__(self, runtime: Runtime, name: str, clock: Clock) -> None:
        self._runtime = runtime
        self._name = name
        self._clock = clock
        self._address: str | None = None
        self._looked_s = float("-inf")

    def get(self) -> str | None:
        """The address; None if the part does not run."""
        now_s = self._clock.monotonic()
        if now_s - self._looked_s >= self.LOOK_S:
            self._looked_s = now_s
            with suppress(BotctlError):  # the file cannot be read now: the last address stays
                part = self._runtime.live().get(self._name)
                self._address = part.address if part else None
        return self._address


def _parse_part(item: dict[str, Any]) -> Part:
    """Raises TypeError if ``item`` is no part."""
    part = Part(**item)
    for field_ in dataclasses.fields(part):
        value = getattr(part, field_.name)
        expected: tuple[type, ...] = {"pid": (int,), "owner_pid": (int,), "lasting": (bool,)}.get(field_.name, (str,))
        if not isinstance(value, expected) and not (field_.name == "secret" and value is None):
            raise TypeError(field_.name)
    return part


def _write_holder(descriptor: int, holder: str) -> None:
    """Write the ``holder`` (process id and start time) into a lock. Only that is lost on a full disk, not the lock."""
    content = holder.encode()
    try:
        os.pwrite(descriptor, content, 0)  # over the last holder's: that needs no space
        os.ftruncate(descriptor, len(content))
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)


def _running_holder(content: bytes) -> int | None:
    """The process in the ``content`` of a lock, if it still runs. Older versions wrote only the process id."""
    pid, _, start = content.decode(errors="replace").partition(" ")
    if not pid.strip().isdigit():
        return None
    now = start_time(int(pid))
    return int(pid) if now is not None and now == (start or now) else None


def _held_error(content: bytes, message: str, hint: str) -> Held:
    pid = content.partition(b" ")[0].strip()
    holder_text = f"Process {int(pid)}" if pid.isdigit() and pid != _NOBODY.encode() else "Another process"
    return Held(
        f"{holder_text} {message} of this project.", hint=hint or "Wait until that process has ended, or end it."
    )


def _file_error(verb: str, path: Path, error: OSError) -> BotctlError:
    if error.errno in _NOT_PERMITTED:
        hint = "The .botctl folder must belong to the user who runs botctl."
        return ConfigError(f"{path} cannot be {verb}: {error.strerror}.", hint=hint)
    hint = "Free space on that disk." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return BotctlError(f"{path} cannot be {verb}: {error.strerror}.", hint=hint)
