"""Certificates for tests, made by the openssl program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HOST = "127.0.0.1"


def make_certificate(folder: Path, *, name: str = "bot.example") -> tuple[Path, Path]:
    """Write a self-signed certificate for ``name`` and 127.0.0.1, and its key; return both files."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl: it is not installed")
    folder.mkdir(exist_ok=True)
    cert, key = folder / "cert.pem", folder / "key.pem"
    new_key = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:{HOST}", "-days", "30")
    subprocess.run([*new_key, *subject, "-keyout", key, "-out", cert], check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key
