"""What a key allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from botctl.core.contracts.api_keys import ApiKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ApiKey("id", "name", ("commands",), NOW, "ann", expires_at=NOW + timedelta(days=1))


def test_key_is_valid_until_it_expires_or_is_revoked() -> None:
    assert KEY.invalid_reason(NOW + timedelta(hours=23)) is None
    assert KEY.invalid_reason(NOW + timedelta(days=1)) == "it has expired"


def test_key_may_read_its_topics_only() -> None:
    assert KEY.may_read("commands")
    assert not KEY.may_read("command")
    assert ApiKey("id", "name", ("*",), NOW, "ann").may_read("anything")
