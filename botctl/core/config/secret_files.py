"""Read secret settings from files: those that variables name (``BOTCTL_DISCORD__TOKEN_FILE``), and systemd credentials.

A credential is a file in ``$CREDENTIALS_DIRECTORY`` that is called ``botctl.`` and the setting. What is wrong with a
file is added to ``faults``; what is valid but probably a mistake to ``remarks``. No sentence has a secret.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from botctl.core.config.reference import is_secret, reference
from botctl.core.config.sources import Key, Layer, Origin, SourcedValue, Values, secret_of_file
from botctl.core.escape import safe
from botctl.core.files.secret_file import SecretFileError, read_secret
from botctl.core.files.trust import is_trusted_by_name, this_caller
from botctl.core.redact import register
from botctl.core.suggest import suggest_name

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
CREDENTIAL_PREFIX: Final = "botctl."
_DOCKER: Final = Path("/run/secrets")  # only root can make it; its files have the modes of Docker or Kubernetes
_DIFFERENCES: Final = (Layer.DOTENV, Layer.CREDENTIAL, Layer.ENVIRONMENT)


@dataclass(frozen=True)
class SecretFiles:
    """Reads the files of the project in ``root``. ``env``: the environment."""

    root: Path
    env: Mapping[str, str]
    faults: list[str]
    remarks: list[str]

    def named(self, variables: Mapping[str, SourcedValue]) -> Values:
        """The secrets in the files that ``variables`` (all of a layer, by name) name."""
        values = Values()
        for name, (path, origin) in variables.items():
            key = secret_of_file(name)
            if key is not None and (found := self._read_named(name, str(path), origin)) is not None:
                values[key] = found
        return values

    def credentials(self) -> Values:
        """The secrets in the credentials that systemd has given to this service."""
        folder = self.env.get(CREDENTIALS, "")
        values = Values()
        for name in self._credential_names(folder) if folder else ():
            key: Key = tuple(name.removeprefix(CREDENTIAL_PREFIX).split("."))
            what = f"The credential {safe(name, 80)}"
            if not is_secret(key):
                known = [CREDENTIAL_PREFIX + setting.key for setting in reference() if setting.secret]
                self.faults.append(f"{what} is no secret setting{suggest_name(name, known, prefix=CREDENTIAL_PREFIX)}")
            elif (text := self._read(Path(folder, name), what)) is not None:
                values[key] = SourcedValue(text, Origin(Layer.CREDENTIAL, f"credential {name}"))
        return values

    def check_dotenv(self, values: Values) -> None:
        """Remark that other users can read the ``.env`` file, if ``values`` of it are secret."""
        secret = next((key for key in values if is_secret(key)), None)
        if secret is None or self._is_trusted:
            return
        info = (self.root / ".env").stat()
        if stat.S_ISREG(info.st_mode) and this_caller(self.env).is_exposed(info):
            self.remarks.append(f".env has {'.'.join(secret)}, and other users can read it: `chmod 600 .env`.")

    def _credential_names(self, folder: str) -> Iterable[str]:
        try:
            names = sorted(path.name for path in Path(folder).iterdir())
        except OSError as error:
            why = f"{CREDENTIALS} is {safe(folder, 200)}, which cannot be read ({error.strerror})"
            self.remarks.append(f"{why}: no credential is used.")
            return ()
        return (name for name in names if name.startswith(CREDENTIAL_PREFIX))

    def _read_named(self, name: str, text: str, origin: Origin) -> SourcedValue | None:
        where = name if origin.line is None else f"{name} ({origin})"
        if not text.strip():
            self.faults.append(f"{where} is set but empty; give it the path of a file, or remove it.")
            return None
        path = self.root / text
        if not _may_be_path(path, text):
            register(text)  # perhaps it is the secret itself
            self.faults.append(f"{where} names no file; it is the path of a file that holds the secret.")
            return None
        shown = safe(text, 200)
        secret = self._read(path, f"The file {shown}, which {where} names,")
        if secret is None:
            return None
        return SourcedValue(secret, Origin(origin.layer, f"{shown} ({origin})"))

    def _read(self, path: Path, what: str) -> str | None:
        """The secret in the file at ``path``. ``what``: the beginning of a sentence about it."""
        has_own_mode = self._is_trusted or self._is_of_system(path)
        try:
            found = read_secret(path, None if has_own_mode else this_caller(self.env))
        except FileNotFoundError:
            self.faults.append(f"{what} does not exist.")
        except SecretFileError as error:
            self.faults.append(f"{what} {error}.")
        else:
            if found.is_exposed:
                self.remarks.append(f"{what} can be read by other users: `chmod 600` it.")
            return found.text
        return None

    @property
    def _is_trusted(self) -> bool:
        return is_trusted_by_name(self.root, self.env, this_caller(self.env))

    def _is_of_system(self, path: Path) -> bool:
        """Whether Docker, Kubernetes or systemd has made the file, with the mode that they choose."""
        folders = [_DOCKER, *([Path(folder)] if (folder := self.env.get(CREDENTIALS)) else [])]
        own = path.parent.resolve()  # the file may be a link, as those of Kubernetes are
        return any(own.is_relative_to(folder.resolve()) for folder in folders)


def differences(layers: Iterable[Values]) -> Iterator[str]:
    """A sentence for each secret that two of ``layers`` (lowest first) set to different values."""
    found: dict[Key, list[SourcedValue]] = {}
    for layer in layers:
        for key, value in layer.items():
            if is_secret(key) and value.origin.layer in _DIFFERENCES:
                found.setdefault(key, []).append(value)
    for key, values in found.items():
        for low, high in pairwise(values):
            if low.value != high.value:
                yield f"{'.'.join(key)} has another value in {low.origin} than in {high.origin}, which counts."


def _may_be_path(path: Path, text: str) -> bool:
    """Whether ``text`` may be shown as a path. What names no file could be the secret itself, typed in its place."""
    try:
        return path.exists() or ("/" in text and path.parent.is_dir())
    except (OSError, ValueError):  # too long; a null character
        return False
