"""The words of states and endings."""

import asyncio

import pytest

from botctl.core.contracts.service_state import ServiceState, describe_end, unwrap_group


def test_others_may_use_what_is_ready_degraded_or_restarting():
    assert [state for state in ServiceState if state.up] == [
        ServiceState.READY,
        ServiceState.DEGRADED,
        ServiceState.RESTARTING,
    ]


def test_blame_finds_the_one_error_in_groups_of_one_and_leaves_larger_groups():
    error = ValueError("x")
    two = ExceptionGroup("two", [error, KeyError("y")])
    assert unwrap_group(error) is error
    assert unwrap_group(ExceptionGroup("a", [ExceptionGroup("b", [error])])) is error
    assert unwrap_group(ExceptionGroup("a", [two])) is two


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "returned"),
        (asyncio.CancelledError(), "was cancelled"),
        (ValueError("no such port"), "ValueError: no such port"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_an_ending_in_words(error, words):
    assert describe_end(error) == words
