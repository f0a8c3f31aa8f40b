"""The words of states and endings."""

import asyncio

import pytest

from botctl.core.contracts.service_state import ServiceState, describe_end, unwrap_group


def test_ready_degraded_and_restarting_are_up():
    assert [state for state in ServiceState if state.up] == [
        ServiceState.READY,
        ServiceState.DEGRADED,
        ServiceState.RESTARTING,
    ]


def test_unwrap_group_keeps_groups_of_several_errors():
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
def test_end_of_a_service_is_described(error, words):
    assert describe_end(error) == words
