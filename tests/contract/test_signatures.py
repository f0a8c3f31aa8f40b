"""Keys and grants after a new `auth.secret`: signed again, and none of them lost."""

from __future__ import annotations

from typing import Any

import pytest

from botctl.auth.grants import COLLECTION as GRANTS
from botctl.auth.key_documents import COLLECTION as KEYS
from botctl.auth.signatures import SignatureReport, sign_again
from botctl.auth.signing import Signer
from botctl.core.errors import ConfigError
from tests.support.clock import ManualClock
from tests.support.realtime import RecordingAuditor

OLD, NEW = Signer(b"the old secret of 32 characters or so"), Signer(b"the new secret of 32 characters or so")
BOTH = Signer(NEW.secret, previous=OLD.secret)


async def test_documents_of_the_previous_secret_are_signed_again(documents: Any) -> None:
    """Those of the new one stay, and what neither has signed is counted and left alone. Once more changes nothing."""
    key = OLD.sign(KEYS, {"_id": "key", "digest": b"d", "uses": 3})
    forged = {"_id": "forged", "role": "owner", "mac": "0" * 64}
    await documents[KEYS].insert_many([key, NEW.sign(KEYS, {"_id": "newer"})])
    await documents[GRANTS].insert_many([OLD.sign(GRANTS, {"_id": "grant"}), forged, {"_id": "bare", "role": "owner"}])
    auditor = RecordingAuditor()
    assert await sign_again(documents, BOTH, auditor, ManualClock()) == SignatureReport(total=5, signed=2, unknown=2)
    assert await documents[KEYS].find_one({"_id": "key"}) == NEW.sign(KEYS, key)
    assert await documents[GRANTS].find_one({"_id": "grant"}) == NEW.sign(GRANTS, {"_id": "grant"})
    assert await documents[GRANTS].find_one({"_id": "forged"}) == forged
    assert "mac" not in await documents[GRANTS].find_one({"_id": "bare"})
    (entry,) = auditor.entries
    assert entry.action == "auth.sign-again"
    assert {change.k: change.new for change in entry.changes} == {KEYS: 1, GRANTS: 1}
    assert await sign_again(documents, BOTH, auditor, ManualClock()) == SignatureReport(total=5, signed=0, unknown=2)
    assert await sign_again(documents, NEW, auditor, ManualClock()) == SignatureReport(total=5, signed=0, unknown=2)
    assert auditor.entries == [entry]


async def test_nothing_is_signed_without_a_secret(documents: Any) -> None:
    await documents[KEYS].insert_one({"_id": "key"})
    with pytest.raises(ConfigError, match=r"auth\.secret is not set"):
        await sign_again(documents, Signer(None, previous=OLD.secret), RecordingAuditor(), ManualClock())
