"""The files of the TLS certificate: what is wrong with them is said at the start."""

from __future__ import annotations

import logging
import ssl
import subprocess
from pathlib import Path

import pytest

from botctl.core.errors import ConfigError
from botctl.core.http.tls import Certificate, CertificateFiles, certificate_files
from tests.support.certificates import make_certificate


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
    """Two certificates with their keys."""
    folder = tmp_path_factory.mktemp("tls")
    return make_certificate(folder / "old"), make_certificate(folder / "new")


@pytest.fixture
def files(made: tuple[tuple[Path, Path], tuple[Path, Path]], tmp_path: Path) -> CertificateFiles:
    """A certificate of this test's own."""
    return put(made[0], tmp_path)


def put(source: tuple[Path, Path], folder: Path) -> CertificateFiles:
    """Write the certificate of ``source`` to ``folder``, as a renewal does."""
    found = CertificateFiles(folder / "cert.pem", folder / "key.pem")
    for old, new in zip(source, (found.cert, found.key), strict=True):
        written = new.with_suffix(".new")
        written.write_bytes(old.read_bytes())
        written.chmod(0o600)
        written.replace(new)
    return found


def served(certificate: Certificate) -> bytes:
    """The certificate that a client gets now."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificate.context.wrap_bio(incoming, outgoing, server_side=True)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    client = client_context.wrap_bio(outgoing, incoming)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = client.getpeercert(binary_form=True)
    assert der
    return der


def test_certificate_is_served_by_tls_1_2_at_least(files: CertificateFiles) -> None:
    certificate = Certificate(files)
    assert certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert ssl.DER_cert_to_PEM_cert(served(certificate)) == files.cert.read_text()


def test_renewed_files_are_served_without_a_restart(
    files: CertificateFiles, made: tuple[tuple[Path, Path], tuple[Path, Path]]
) -> None:
    certificate = Certificate(files)
    old = served(certificate)
    certificate.reload_if_changed()
    assert served(certificate) == old
    put(made[1], files.cert.parent)
    certificate.reload_if_changed()
    assert ssl.DER_cert_to_PEM_cert(served(certificate)) == made[1][0].read_text()


def test_unusable_renewal_keeps_the_certificate(
    files: CertificateFiles,
    made: tuple[tuple[Path, Path], tuple[Path, Path]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    certificate = Certificate(files)
    old = served(certificate)
    files.cert.write_bytes(made[1][0].read_bytes())  # the key is not there yet
    with caplog.at_level(logging.WARNING):
        certificate.reload_if_changed()
        certificate.reload_if_changed()
    assert served(certificate) == old
    assert len(caplog.records) == 1
    files.key.unlink()
    certificate.reload_if_changed()
    assert served(certificate) == old


def test_mismatched_key_is_refused(files: CertificateFiles, made: tuple[tuple[Path, Path], tuple[Path, Path]]) -> None:
    files.key.write_bytes(made[1][1].read_bytes())
    with pytest.raises(ConfigError, match="is not the one of the certificate"):
        Certificate(files)


def test_missing_file_is_named_with_its_setting(files: CertificateFiles) -> None:
    files.key.unlink()
    with pytest.raises(ConfigError, match=r"realtime\.tls_key.*key\.pem.*no such file"):
        Certificate(files)
    with pytest.raises(ConfigError, match=r"realtime\.tls_cert"):
        Certificate(CertificateFiles(files.cert.parent / "none.pem", files.key))


def test_folder_in_place_of_a_file_is_refused(files: CertificateFiles) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Certificate(CertificateFiles(files.cert.parent, files.key))


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666])
def test_key_that_everyone_can_read_is_refused(files: CertificateFiles, mode: int) -> None:
    files.key.chmod(mode)
    with pytest.raises(ConfigError, match="every user") as error:
        Certificate(files)
    assert "chmod o=" in error.value.hint
    files.key.chmod(0o640)
    Certificate(files)


def test_encrypted_key_is_refused_without_a_question(files: CertificateFiles) -> None:
    encrypt = ("openssl", "pkey", "-in", files.key, "-aes128", "-passout", "pass:x")
    files.key.write_bytes(subprocess.run(encrypt, check=True, capture_output=True).stdout)
    with pytest.raises(ConfigError, match="encrypted with a password"):
        Certificate(files)


def test_file_without_a_certificate_is_refused(files: CertificateFiles) -> None:
    files.cert.write_text("hello")
    with pytest.raises(ConfigError, match="cannot be used"):
        Certificate(files)


def test_files_are_relative_to_the_project(tmp_path: Path) -> None:
    found = certificate_files("realtime", "tls/cert.pem", "/etc/key.pem", tmp_path)
    assert found == CertificateFiles(tmp_path / "tls" / "cert.pem", Path("/etc/key.pem"))
    both = certificate_files("realtime", "both.pem", "", tmp_path)
    assert both == CertificateFiles(tmp_path / "both.pem", tmp_path / "both.pem")
    assert certificate_files("web", "", "", tmp_path) is None
    with pytest.raises(ConfigError, match=r"not web\.tls_cert"):
        certificate_files("web", "", "key.pem", tmp_path)
