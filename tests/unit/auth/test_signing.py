"""The secret that signs keys and grants, and where it comes from."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.auth.signing import SECRET_FILE, UNSIGNED_FIELDS, NotSigned, Signer, load_signer
from botctl.core.config.settings import AuthSettings, MongoSettings, Settings
from botctl.core.errors import BotctlError, ConfigError
from botctl.core.redact import redact_values

SIGNER = Signer(b"a secret of 32 characters or more")
values = st.none() | st.integers() | st.text() | st.binary(max_size=8) | st.lists(st.text(), max_size=3)
documents = st.dictionaries(st.sampled_from(["_id", "name", "role", "permissions", *UNSIGNED_FIELDS]), values)


@given(documents, documents)
def test_any_change_of_a_signed_field_is_noticed(document: dict[str, object], other: dict[str, object]) -> None:
    signed = SIGNER.sign("things", document)
    SIGNER.require_signature("things", signed)
    changed = {**other, "mac": signed["mac"]}
    if {k: v for k, v in document.items() if k not in UNSIGNED_FIELDS} == {
        k: v for k, v in other.items() if k not in UNSIGNED_FIELDS
    }:
        SIGNER.require_signature("things", changed)
    else:
        with pytest.raises(NotSigned, match="signature is wrong"):
            SIGNER.require_signature("things", changed)


def test_signature_of_another_collection_or_bot_is_wrong() -> None:
    with pytest.raises(NotSigned, match="signature is wrong"):
        Signer(SIGNER.secret, "two").require_signature("things", SIGNER.sign("things", {"_id": 1}))
    with pytest.raises(NotSigned, match="signature is wrong"):
        SIGNER.require_signature("others", SIGNER.sign("things", {"_id": 1}))


OTHER = b"another secret of 32 characters or so"


def test_previous_secret_verifies_and_signs_nothing() -> None:
    old, both = Signer(OTHER), Signer(SIGNER.secret, previous=OTHER)
    document = old.sign("things", {"_id": 1})
    both.require_signature("things", document)
    assert not both.is_current("things", document)
    renewed = both.sign("things", document)
    assert renewed == SIGNER.sign("things", {"_id": 1})
    assert both.is_current("things", renewed)
    with pytest.raises(NotSigned, match="signature is wrong"):
        SIGNER.require_signature("things", document)
    with pytest.raises(NotSigned, match="signature is wrong"):
        both.require_signature("things", {**document, "_id": 2})
    with pytest.raises(NotSigned, match="signature is wrong"):
        Signer(SIGNER.secret, "two", OTHER).require_signature("things", document)


def test_previous_secret_alone_opens_nothing() -> None:
    with pytest.raises(NotSigned, match=r"auth\.secret is not set"):
        Signer(None, previous=OTHER).require_signature("things", Signer(OTHER).sign("things", {"_id": 1}))


def test_previous_secret_of_the_settings_is_loaded(tmp_path: Path) -> None:
    """Beside the secret of the settings, or of the embedded store."""
    auth = AuthSettings(secret="s" * 32, previous_secret="p" * 32)
    assert load_signer(Settings(auth=auth), tmp_path) == Signer(b"s" * 32, "bot", b"p" * 32)
    assert load_signer(Settings(auth=AuthSettings(previous_secret="p" * 32)), tmp_path).previous == b"p" * 32
    foreign = Settings(auth=AuthSettings(previous_secret="p" * 32), mongo=MongoSettings(url="mongodb://localhost"))
    assert load_signer(foreign, tmp_path) == Signer(None)


def test_secret_of_the_embedded_store_is_made_once_and_private(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        signers = set(pool.map(lambda _: load_signer(Settings(), tmp_path), range(16)))
    assert len(signers) == 1
    path = tmp_path / SECRET_FILE
    assert [file.name for file in tmp_path.iterdir()] == [SECRET_FILE]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() not in redact_values(f"it is {path.read_text()}")


def test_secret_of_the_settings_comes_first(tmp_path: Path) -> None:
    settings = Settings(auth=AuthSettings(secret="s" * 32), mongo=MongoSettings(url="mongodb://localhost"))
    assert load_signer(settings, tmp_path) == Signer(b"s" * 32, "bot")
    assert load_signer(Settings(mongo=MongoSettings(url="mongodb://localhost")), tmp_path) == Signer(None)
    assert list(tmp_path.iterdir()) == []


def test_damaged_secret_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text("short")
    with pytest.raises(ConfigError, match="damaged"):
        load_signer(Settings(), tmp_path)
    assert (tmp_path / SECRET_FILE).read_text() == "short"
    with pytest.raises(BotctlError, match="cannot be used"):
        load_signer(Settings(), tmp_path / "missing")


def test_short_secret_of_the_settings_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 characters"):
        AuthSettings(secret="s" * 31)
