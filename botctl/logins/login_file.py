"""The logins of the last day in a file of the project, for when Redis is away, and after its data were lost.

``.botctl/logins.json``: by the token's fingerprint, what Discord said last and each login. It is locked (flock) while
it is changed, and replaced in one step. What cannot be written is kept in memory, and written with the next login; so
it is if another process keeps the lock, which may be stopped.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from botctl.core.files.private import make_private_folder, write_private
from botctl.logins.budget import DAY_MS, Login, Observation

FILE: Final = "logins.json"
_LOCK_TRIES: Final = 10
_LOCK_PAUSE_S: Final = 0.02  # between two tries; a process that runs holds the lock for a few milliseconds
_FAULTS: Final = (ValueError, TypeError, KeyError, AttributeError)  # of a file that is truncated, or of another version
_log = logging.getLogger(__name__)


@dataclass
class TokenLogins:
    """What is known of one token: what Discord said last, and its logins."""

    observation: Observation | None = None
    logins: list[Login] = field(default_factory=list)

    def prune(self, now_ms: int) -> None:
        """Forget the logins that are older than a day."""
        self.logins = [login for login in self.logins if login.at_ms > now_ms - DAY_MS]

    def is_over(self, now_ms: int) -> bool:
        """Whether nothing of it counts any more."""
        until_ms = self.observation.valid_until_ms if self.observation else 0
        return not self.logins and until_ms < now_ms - DAY_MS


class LoginFile:
    """The logins of the token with ``fingerprint`` in the state folder of a project."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._fingerprint = fingerprint
        self._mine = TokenLogins()  # of this process: what a file that cannot be written would lose
        self._reported = False

    def read(self, now_ms: int) -> TokenLogins:
        """What the file and this process know."""
        known = self._load().get(self._fingerprint, TokenLogins())
        return self._merged(known, now_ms)

    @contextmanager
    def changing(self, now_ms: int) -> Iterator[TokenLogins]:
        """Lock the file and yield what is known, for the block to change; then write it. Raises nothing of its own."""
        with self._locked() as is_mine:
            tokens = self._load()
            known = self._merged(tokens.get(self._fingerprint, TokenLogins()), now_ms)
            yield known
            self._mine = TokenLogins(known.observation, list(known.logins))
            if not is_mine:
                self._report(f"{self._path} is locked by another process: logins are counted in memory and in Redis")
                return
            tokens[self._fingerprint] = known
            self._write({name: token for name, token in tokens.items() if not token.is_over(now_ms)})

    def _merged(self, known: TokenLogins, now_ms: int) -> TokenLogins:
        by_id = {login.id: login for login in (*known.logins, *self._mine.logins)}
        observations = [each for each in (known.observation, self._mine.observation) if each]
        newest = max(observations, key=lambda each: each.asked_ms, default=None)
        merged = TokenLogins(newest, sorted(by_id.values()))
        merged.prune(now_ms)
        return merged

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Lock the file; yields False if another process keeps the lock. Where there are no locks, go on without."""
        descriptor, is_mine = None, True
        with suppress(OSError):
            make_private_folder(self._folder)
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            is_mine = _try_lock(descriptor)
        try:
            yield is_mine
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _load(self) -> dict[str, TokenLogins]:
        try:
            return {name: _parse(token) for name, token in json.loads(self._path.read_bytes())["tokens"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, *_FAULTS) as error:
            self._report(
                f"{self._path} cannot be read ({type(error).__name__}): logins before this start may be missing"
            )
            return {}

    def _write(self, tokens: dict[str, TokenLogins]) -> None:
        listed = {
            name: {"observation": asdict(token.observation) if token.observation else None, "logins": token.logins}
            for name, token in tokens.items()
        }
        new = self._path.with_suffix(".new")
        try:
            write_private(new, json.dumps({"v": 1, "tokens": listed}, separators=(",", ":")))
            new.replace(self._path)
            self._reported = False
        except OSError as error:
            self._report(
                f"{self._path} cannot be written ({error.strerror}): logins are counted in memory and in Redis"
            )

    def _report(self, sentence: str) -> None:
        if not self._reported:
            self._reported = True
            _log.warning("%s", sentence)


def _try_lock(descriptor: int) -> bool:
    """Lock an open file, unless another process keeps it locked for about 0.2 s. Raises OSError."""
    for attempt in range(_LOCK_TRIES):
        if attempt:
            time.sleep(_LOCK_PAUSE_S)
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _parse(token: dict[str, Any]) -> TokenLogins:
    """Raises one of `_FAULTS`."""
    observation = token["observation"]
    logins = [Login(int(at_ms), int(shard), str(login_id)) for at_ms, shard, login_id in token["logins"]]
    return TokenLogins(Observation(**{k: int(v) for k, v in observation.items()}) if observation else None, logins)
