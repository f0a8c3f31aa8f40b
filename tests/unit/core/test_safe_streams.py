"""Nothing secret is printed, in however many writes, and nothing else is lost."""

from __future__ import annotations

import io
import sys
from unittest import mock

import pytest

from botctl.core.safe_streams import SafeStream, reveal, safe_streams
from tests.support import canary


@pytest.mark.parametrize("end", range(1, len(canary.PASSWORD)))
def test_secret_in_two_writes_is_redacted(end: int) -> None:
    out = io.StringIO()
    with canary.registered(), mock.patch.object(sys, "stdout", out), safe_streams():
        sys.stdout.write(f"it is {canary.PASSWORD[:end]}")
        sys.stdout.flush()
        sys.stdout.write(f"{canary.PASSWORD[end:]}, yes\n")
    assert out.getvalue() == "it is [redacted], yes\n"


def test_text_that_only_begins_like_a_secret_is_printed_whole() -> None:
    out = io.StringIO()
    with canary.registered():
        stream = SafeStream(out)
        for text in (f"no: {canary.PASSWORD[:5]}", "!\n", canary.PASSWORD[:7]):
            stream.write(text)
        assert out.getvalue() == f"no: {canary.PASSWORD[:5]}!\n"
        stream.finish()
    assert out.getvalue().endswith(f"!\n{canary.PASSWORD[:7]}")


def test_revealed_secret_is_printed() -> None:
    out = io.StringIO()
    with canary.registered(), mock.patch.object(sys, "stdout", out), safe_streams():
        reveal(canary.TOKEN)
    assert out.getvalue() == f"{canary.TOKEN}\n"
