"""What changes something takes a reason for the audit log."""

from __future__ import annotations

import pytest

from botctl.cli.options import _check_reason
from botctl.core.errors import UsageError
from tests.support.verbs import COMMANDS

CHANGES = (
    *("auth grant", "auth revoke", "auth key create", "auth key rotate", "auth key revoke", "auth sessions revoke"),
    *("gateway login", "gateway restart", "jobs run", "jobs pause", "jobs resume", "migrate resolve"),
    *("ratelimit reset", "settings set", "settings reset"),
)


@pytest.mark.parametrize("name", CHANGES)
def test_verb_that_changes_something_takes_a_reason(name: str) -> None:
    assert "--reason" in [option for parameter in COMMANDS[name].params for option in parameter.opts]


def test_reason_is_a_line_of_limited_length() -> None:
    assert _check_reason(" too noisy ") == "too noisy"
    assert _check_reason("") == ""
    for reason in ("x" * 201, "two\nlines", "\x1b[31m"):
        with pytest.raises(UsageError, match="a text of at most 200 characters"):
            _check_reason(reason)
