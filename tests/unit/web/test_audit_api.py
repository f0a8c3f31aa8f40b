"""Which parameters of ``/api/audit`` are accepted."""

from __future__ import annotations

import pytest

from botctl.web.audit_api import MAX_ENTRIES, _limit
from botctl.web.responses import RequestRefused


def test_number_of_entries_is_the_one_asked_for() -> None:
    assert _limit({"limit": "1"}) == 1
    assert _limit({"limit": str(MAX_ENTRIES)}) == MAX_ENTRIES
    assert 1 <= _limit({}) <= MAX_ENTRIES


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "x", "٣", f"{MAX_ENTRIES + 1}", "0000019999999", "1" * 5_000, "0" * 5_000 + "1"],
    ids=["empty", "zero", "negative", "word", "other digits", "too many", "hidden", "too long", "zeros"],
)
def test_number_of_entries_is_bounded(text: str) -> None:
    with pytest.raises(RequestRefused):
        _limit({"limit": text})
