"""What to do when the embedded Redis cannot read its data, for example after a power loss.

Nothing in Redis is the only copy (events that clients missed, rate limits, caches), so damaged data never keep a bot
from starting. First the readable beginning of the data is kept, then nothing. The damaged folder is always kept. Only
what the server's own check tools call damaged is touched: a server with too little memory ends in many ways, and its
tools do, too. If the server does not start without the damage either, everything is put back.
"""

from __future__ import annotations

import logging
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from botctl.core.escape import safe
from botctl.core.files.set_aside import set_aside

_log = logging.getLogger(__name__)

_CHECKS: Final = {".aof": "valkey-check-aof", ".rdb": "valkey-check-rdb"}  # the server is such a tool when called so
_CHECK_S: Final = 60.0
_APPEND_FOLDER: Final = "appendonlydir"
_STOPPED: Final = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT)
_NO_MEMORY: Final = re.compile(rb"(?:allocating|TryExpand) (\d+)|libgcc_s")  # what a tool could not have, in bytes
_MOST_BYTES: Final = 512 << 20  # the longest value that the server takes: one that is longer is damage
# Said by the server of commands that it does not take. Its tools look only at the form.
_REJECTED: Final = re.compile(r"Error reading the append only file \S+, error:|Unknown command")
_HAS_CUT: Final = "truncated file is not the last"  # said by the server, which has cut off the end of an increment
_NO_DAMAGE, _DAMAGE = 0, 1  # exit statuses of a tool that could tell
_MANIFEST: Final = "appendonly.aof.manifest"
# A line of the manifest: a base, an increment, or history.
_LISTED: Final = re.compile(r"file ([\w.-]+\.(?:aof|rdb)) seq \d+ type ([bih])(?: .*)?\n", re.ASCII)


class RedisRepair:
    """The repairs of ``data``, the folder of the server ``program``, one after the other (see `LaunchSpec.repair`)."""

    def __init__(self, data: Path, program: Path) -> None:
        self._data = data
        self._folder = data / _APPEND_FOLDER
        self._program = program
        self._kept: Path | None = None
        self._copied = False

    def __call__(self, status: int, output: str, attempt: int) -> str | None:
        if attempt == 0:
            self._kept, self._copied = None, False
        done, cause = None, "It does not start without the damage either"
        try:
            if status not in _STOPPED:
                done = self._begin(output) if attempt == 0 else self._go_on(output)
        except (OSError, subprocess.SubprocessError) as error:
            cause = f"They cannot be repaired now ({safe(error)})"
        if done is None:
            self._undo(cause)
        return done

    def _begin(self, output: str) -> str | None:
        """Keep the damaged data, and put a copy without its unreadable end in their place."""
        if not _is_readable(self._folder):
            return None
        cut = self._cut_by_server() if _HAS_CUT in output else None
        lost = cut is None and self._is_lost(output)
        damaged = None if lost else cut or self._first_damaged()
        if not lost and damaged is None:
            return None
        self._kept = kept = set_aside(self._data)
        self._data.mkdir(mode=0o700)
        if damaged is None or (left_out := self._copy_until(damaged, kept, is_cut=cut is not None)) is None:
            return self._empty()
        self._copied = True
        behind = f" So is what was written after it ({', '.join(left_out)})." if left_out else ""
        return (
            "The end of the embedded Redis's data cannot be read: it goes on with what comes before. The damaged data "
            f"are kept in {self._kept}.{behind}"
        )

    def _go_on(self, output: str) -> str | None:
        """The server does not start with the copy: do without, if the copy is damaged."""
        if self._copied and (self._is_lost(output) or self._first_damaged() is not None):
            return self._empty()
        return None

    def _cut_by_server(self) -> str | None:
        """The increment whose end the server has just cut off. Its tools find nothing wrong with it now."""
        increments = _of_type("i", _read_manifest(self._folder) or {})
        return max(increments[:-1], key=lambda name: (self._folder / name).stat().st_mtime_ns, default=None)

    def _is_lost(self, output: str) -> bool:
        """Whether nothing can be read: the list of the files or the base is damaged, or the server says so."""
        listed = _read_manifest(self._folder)
        if listed is None or _REJECTED.search(output) is not None:
            return True
        return any(map(self._is_damaged, _of_type("b", listed)))

    def _first_damaged(self) -> str | None:
        """The first increment that is damaged or missing."""
        return next(filter(self._is_damaged, _of_type("i", _read_manifest(self._folder) or {})), None)

    def _is_damaged(self, name: str) -> bool:
        return not (self._folder / name).is_file() or not self._check(name)

    def _check(self, name: str, *options: str) -> bool:
        """Run the tool for this one file: with the manifest, it would take a good base for damaged.

        Returns whether the file is good, now. Raises SubprocessError if the tool cannot tell: it was killed, or had too
        little memory or time.
        """
        path = self._folder / name
        ended = subprocess.run(
            [_CHECKS[path.suffix], *options, str(path)],
            executable=self._program,
            input=b"y\n",
            capture_output=True,
            timeout=_CHECK_S,
            check=False,
        )
        wanted = _NO_MEMORY.search(ended.stdout + ended.stderr)
        if wanted is not None and int(wanted[1] or 0) > _MOST_BYTES:
            return False
        if ended.returncode not in (_NO_DAMAGE, _DAMAGE) or (wanted is not None and ended.returncode == _DAMAGE):
            raise subprocess.SubprocessError(f"the check of {name} ended with {ended.returncode}")
        return ended.returncode == _NO_DAMAGE

    def _copy_until(self, damaged: str, kept: Path, *, is_cut: bool) -> list[str] | None:
        """Copy what is in ``kept`` up to the unreadable end of the increment ``damaged``. ``is_cut``: it has none.

        Later increments go on from data that are lost, so they are left out, also in the manifest. Returns the names
        of these; None if nothing can be saved.
        """
        shutil.copytree(kept / _APPEND_FOLDER, self._folder)
        increments = _of_type("i", _read_manifest(self._folder) or {})
        exists = (self._folder / damaged).is_file()
        if exists and not is_cut and not self._check(damaged, "--fix"):
            return None
        left_out = increments[increments.index(damaged) + exists :]
        self._leave_out(left_out)
        return left_out

    def _leave_out(self, names: list[str]) -> None:
        for name in names:
            (self._folder / name).unlink(missing_ok=True)
        manifest = self._folder / _MANIFEST
        lines = manifest.read_text().splitlines(keepends=True)
        manifest.write_text("".join(line for line in lines if line.split()[1] not in names))

    def _empty(self) -> str:
        self._copied = False
        shutil.rmtree(self._data)
        self._data.mkdir(mode=0o700)
        return (
            "The embedded Redis's data cannot be read: it starts without data. Rate limits begin again, and clients of "
            f"the realtime server miss older events. The damaged data are kept in {self._kept}."
        )

    def _undo(self, cause: str) -> None:
        if self._kept is not None:
            with suppress(OSError):
                shutil.rmtree(self._data, ignore_errors=True)
                self._kept.rename(self._data)
                _log.warning("The embedded Redis's data are damaged. %s. They are back in %s.", cause, self._data)
            self._kept = None


def _read_manifest(folder: Path) -> dict[str, str] | None:
    """The names of the files that the server reads, in this order, with their types. None: it is damaged.

    Without a manifest the server reads no file.
    """
    try:
        lines = (folder / _MANIFEST).read_text("utf-8", "replace").splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    found = [match for line in lines if (match := _LISTED.fullmatch(line)) is not None]
    return {match[1]: match[2] for match in found} if found and len(found) == len(lines) else None


def _of_type(kind: str, listed: dict[str, str]) -> list[str]:
    return [name for name, its in listed.items() if its == kind]


def _is_readable(folder: Path) -> bool:
    """Whether there are data, and this user may read them: a missing right is no damage."""
    try:
        files = [path for path in folder.iterdir() if path.is_file()]
        for path in files:
            path.open("rb").close()
    except OSError:
        return False
    return bool(files)
