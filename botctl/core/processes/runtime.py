"""What of a project is running right now, and who holds which part of it.

``.botctl/runtime.json`` lists the embedded parts (stores, sandbox) so that other terminals find them.
``.botctl/*.lock`` are held by flock(2), which the kernel lets go of when their holder ends, however it ends.
"""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from botctl.core.errors import BotctlError, ConfigError, Held
from botctl.core.paths import state_folder
from botctl.core.processes.process import is_running, start_time, terminate

_log = logging.getLogger(__name__)

FILE: Final = "runtime.json"
_NOT_OURS: Final = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An embedded part that somebody runs.

    ``started`` and ``owner_started`` are `process.began` of the two processes. ``secret`` opens its control port, if
    it has one. ``lasting``: its owner is a `botctl run`, and not a verb that will be done soon.
    """

    name: str
    pid: int
    started: str
    address: str
    owner_pid: int
    owner_started: str
    secret: str | None = field(default=None, repr=False)
    lasting: bool = False

    @property
    def owned(self) -> bool:
        """Whether its owner still runs; the part itself may be on its way back up."""
        return is_running(self.owner_pid, self.owner_started)

    @property
    def live(self) -> bool:
        """Whether it runs and its owner does."""
        return self.owned and is_running(self.pid, self.started)


class Runtime:
    """The ``.botctl`` folder of one project, as seen by this process.

    ``lasting`` says that this process is a `botctl run`, ``owning`` that it runs the embedded parts itself and joins
    nobody else's. Every method raises BotctlError when the folder cannot be read or written (no permission, disk full).
    """

    def __init__(self, root: Path, *, lasting: bool = False, owning: bool = False) -> None:
        self.root = root
        self.lasting = lasting
        self.owning = owning
        self.folder = state_folder(root)

    def log(self, name: str) -> Path:
        """The file where the part ``name`` prints to."""
        return self.folder / "logs" / f"{name}.log"

    def live(self) -> dict[str, Part]:
        """The parts that run, by name."""
        return {name: part for name, part in self.parts().items() if part.live}

    def parts(self) -> dict[str, Part]:
        """All that is listed, by name, also what has died since."""
        path = self.folder / FILE
        try:
            listed = json.loads(path.read_bytes())
            return {part.name: part for part in (Part(**item) for item in listed)}
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _file_error("read", path, error) from error
        except (ValueError, TypeError):  # cut short when the machine went down, or of another version: nothing is known
            return {}

    def publish(self, name: str, *, pid: int, address: str, secret: str | None = None) -> Part:
        """List the part ``name`` of this process, instead of what was listed under that name."""
        part = Part(
            name=name,
            pid=pid,
            started=start_time(pid) or "",
            address=address,
            secret=secret,
            owner_pid=os.getpid(),
            owner_started=start_time(os.getpid()) or "",
            lasting=self.lasting,
        )
        with self._edit() as parts:
            parts[name] = part
        return part

    def withdraw(self, name: str) -> None:
        """Take the part ``name`` off the list, if it is this process's own.

        Where that cannot be written the entry stays; readers see from its process id that it has ended.
        """
        try:
            with self._edit() as parts:
                if name in parts and parts[name].owner_pid == os.getpid():
                    del parts[name]
        except BotctlError as error:
            _log.warning("%s", error)

    async def end_leftover(self, name: str, *, limit_s: float = 5.0) -> None:
        """End what a former owner of the part ``name`` left running, and take it off the list.

        For the holder of the part's lock: whoever is listed is not its owner any more.

        Raises:
            Held: it cannot be ended.
        """
        part = self.parts().get(name)
        if part is None:
            return
        await terminate(part.pid, part.started, limit_s=limit_s)
        with self._edit() as parts:
            if parts.get(name) == part:
                del parts[name]

    @contextmanager
    def lock(self, name: str, *, taken: str = "", hint: str = "") -> Iterator[None]:
        """Hold the role ``name``; there is one holder in the whole project.

        Raises:
            Held: another holds it; the sentence names its process id, and says of it what ``taken`` says.
        """
        with self._locked(name, fcntl.LOCK_EX | fcntl.LOCK_NB, taken, hint) as descriptor:
            with suppress(OSError):  # the name of the holder is a courtesy; a full disk does not undo the lock
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield

    @contextmanager
    def share(self, name: str) -> Iterator[None]:
        """Hold ``name`` together with others who share it; `lock` is refused meanwhile.

        Raises:
            Held: somebody holds it alone.
        """
        with self._locked(name, fcntl.LOCK_SH | fcntl.LOCK_NB):
            yield

    def holder(self, name: str) -> int | None:
        """The process id of who holds the role ``name``, as far as it can be known without taking the lock."""
        with suppress(OSError, ValueError):
            pid = int((self.folder / f"{name}.lock").read_text())
            return pid if start_time(pid) is not None else None
        return None

    @contextmanager
    def _locked(self, name: str, how: int, taken: str = "", hint: str = "") -> Iterator[int]:
        path = self.folder / f"{name}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise _file_error("write", path, error) from error
        try:
            try:
                fcntl.flock(descriptor, how)
            except BlockingIOError:
                raise _held_error(os.pread(descriptor, 20, 0), taken or f"already has {name}", hint) from None
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _edit(self) -> Iterator[dict[str, Part]]:
        """The list, to be changed in place; nobody else changes it meanwhile, and readers never see half of it."""
        with self._locked("runtime", fcntl.LOCK_EX):
            parts = self.parts()
            before = dict(parts)
            yield parts
            if parts != before:
                self._write([dataclasses.asdict(part) for part in parts.values()])

    def _write(self, listed: list[dict[str, Any]]) -> None:
        path = self.folder / FILE
        draft = path.with_suffix(".new")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123
                json.dump(listed, file, indent=1)
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise _file_error("write", path, error) from error


def _held_error(holder: bytes, taken: str, hint: str) -> Held:
    who = f"Process {int(holder)}" if holder.strip().isdigit() else "Another process"
    return Held(f"{who} {taken} of this project.", hint=hint or "Wait until it has ended, or end it.")


def _file_error(verb: str, path: Path, error: OSError) -> BotctlError:
    if error.errno in _NOT_OURS:
        hint = "The .botctl folder must belong to the user who runs botctl."
        return ConfigError(f"{path} cannot be {_PAST[verb]}: {error.strerror}.", hint=hint)
    hint = "Make room on that disk." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return BotctlError(f"{path} cannot be {_PAST[verb]}: {error.strerror}.", hint=hint)


_PAST: Final = {"read": "read", "write": "written"}
