"""A new key is shown once: that it could not be printed is an error, with the way back."""

from __future__ import annotations

import errno
import io
import json
import sys
from datetime import UTC, datetime
from unittest import mock

import pytest

from botctl.cli import main
from botctl.cli.auth import keys
from botctl.core.contracts.api_keys import ApiKey


class _Unread(io.StringIO):
    """A pipe whose reader has ended."""

    def flush(self) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_key_that_cannot_be_printed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ApiKey("k7", "it", ("events:*",), datetime.now(UTC), "me")
    monkeypatch.setattr(keys, "_with_keys", lambda *_: (key, "botctl_k7_secret"))
    monkeypatch.setattr(sys, "argv", ["botctl", "auth", "key", "create", "it", "--json"])
    err = io.StringIO()
    with mock.patch.multiple(sys, stdout=_Unread(), stderr=err), pytest.raises(SystemExit) as ended:
        main.main()
    told = json.loads(err.getvalue())
    assert (ended.value.code, told["exit_code"]) == (1, 1)
    assert told["error"] == "The key k7 was created, but cannot be printed: Broken pipe."
    assert "botctl auth key revoke k7" in told["hint"]
