"""Identifiers."""

import re
import time

from botctl.core.ids import error_id, event_id


def test_an_error_id_can_be_read_aloud():
    assert all(re.fullmatch("[2-9a-hjkmnp-z]{8}", error_id()) for _ in range(500))


def test_ids_do_not_repeat():
    assert len({error_id() for _ in range(1000)}) == 1000
    assert len({event_id() for _ in range(1000)}) == 1000


def test_event_ids_sort_by_time(monkeypatch):
    times = [1_000_000, 999_000_000, 1_000_000_000, 1_790_000_000_123_000_000]
    ids = []
    for at in times:
        monkeypatch.setattr(time, "time_ns", lambda at=at: at)
        ids.append(event_id())
    assert ids == sorted(ids)
    assert all(re.fullmatch("[0-9a-f]{28}", i) for i in ids)
    assert int(ids[-1][:12], 16) == 1_790_000_000_123
