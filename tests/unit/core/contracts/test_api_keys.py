"""What a key allows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from botctl.core.contracts.access import AccessRules, decide
from botctl.core.contracts.api_keys import ApiKey

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ApiKey("id", "name", ("events:commands",), NOW, "ann", expires_at=NOW + timedelta(days=1))


def test_key_is_valid_until_it_expires_or_is_revoked() -> None:
    assert KEY.invalid_reason(NOW + timedelta(hours=23)) is None
    assert KEY.invalid_reason(NOW + timedelta(days=1)) == "it has expired"


def test_key_asks_with_its_own_permissions_in_its_guild() -> None:
    here = replace(KEY, guild="7")
    for key, guild, allowed in ((KEY, None, True), (KEY, "7", True), (here, "7", True), (here, None, False)):
        assert decide(AccessRules(), key.requester(), "events:commands", guild, NOW).allowed is allowed
    assert not decide(AccessRules(), KEY.requester(), "events:services", None, NOW).allowed
