"""A server's TLS certificate, from files. Renewed files are taken without a restart."""

from __future__ import annotations

import asyncio
import logging
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botctl.core.errors import ConfigError

RELOAD_S: Final = 30.0  # between two looks at the files

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the certificate (with its chain) and its private key are. They may be one file.

    ``section``: of the settings that name them.
    """

    cert: Path
    key: Path
    section: str = "realtime"

    @property
    def hint(self) -> str:
        return f"Set {self.section}.tls_cert and {self.section}.tls_key to PEM files of one certificate."

    def state(self) -> tuple[object, ...]:
        """What changes when they are replaced. Raises OSError."""
        return tuple((info.st_mtime_ns, info.st_size, info.st_ino) for info in (self.cert.stat(), self.key.stat()))


class Certificate:
    """A TLS context with the certificate. Connections that are open keep the one that they began with."""

    def __init__(self, files: CertificateFiles) -> None:
        """Load the files. Raises ConfigError."""
        self._files = files
        self._state: tuple[object, ...] = ()
        self.context = _new_context()
        load(self.context, files)
        self._state = _state(files)

    def reload_if_changed(self) -> None:
        """Load the files again if they changed. If they cannot be used, the certificate stays, with a log line."""
        state = _state(self._files)
        if state == self._state:
            return
        self._state = state
        try:
            load(_new_context(), self._files)  # a context that fails half-way would have the old key
            load(self.context, self._files)
        except ConfigError as error:
            _log.warning("the TLS certificate was not renewed: %s", error)
        else:
            _log.info("the TLS certificate was renewed from %s", self._files.cert)

    async def watch(self) -> None:
        """Call `reload_if_changed` for ever."""
        while True:
            await asyncio.sleep(RELOAD_S)
            await asyncio.to_thread(self.reload_if_changed)


def certificate_files(section: str, cert: str, key: str, root: Path) -> CertificateFiles | None:
    """The files that ``tls_cert`` and ``tls_key`` of ``section`` name; None without TLS. Raises ConfigError."""
    files = CertificateFiles(root / cert, root / (key or cert), section)
    if cert:
        return files
    if key:
        raise ConfigError(f"{section}.tls_key is set, but not {section}.tls_cert.", hint=files.hint)
    return None


def load(context: ssl.SSLContext, files: CertificateFiles) -> None:
    """Load ``files`` into ``context``. Raises ConfigError that says what is wrong with them."""
    for name, path in (("tls_cert", files.cert), ("tls_key", files.key)):
        try:
            path.read_bytes()
        except OSError as error:
            reason = (error.strerror or "it cannot be read").lower()
            raise ConfigError(
                f"The file of {files.section}.{name}, {path}, cannot be read: {reason}.", hint=files.hint
            ) from error
    if stat.S_IMODE(files.key.stat().st_mode) & stat.S_IRWXO:
        raise ConfigError(
            f"The TLS key {files.key} can be read by every user of this machine.",
            hint=f"Take that away: chmod o= {files.key}",
        )
    try:
        context.load_cert_chain(files.cert, files.key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigError(_why_refused(files, error), hint=files.hint) from error


def _why_refused(files: CertificateFiles, error: Exception) -> str:
    reason = getattr(error, "reason", "") or ""
    if reason == "KEY_VALUES_MISMATCH":
        return f"The TLS key {files.key} is not the one of the certificate {files.cert}."
    if isinstance(error, _Encrypted):
        return f"The TLS key {files.key} is encrypted with a password, which botctl cannot ask for."
    return f"The TLS certificate {files.cert} and key {files.key} cannot be used: {reason or 'they are not PEM files'}."


class _Encrypted(ValueError):
    """The key needs a password."""


def _no_password() -> str:
    raise _Encrypted


def _new_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _state(files: CertificateFiles) -> tuple[object, ...]:
    try:
        return files.state()
    except OSError:
        return ()
