"""Names of components."""

from __future__ import annotations

import pytest

from botctl.bot.connection_state import component_name


@pytest.mark.parametrize(
    ("custom_id", "name"),
    [
        ("poll:vote:123:0", "poll:vote"),
        ("poll:vote", "poll:vote"),
        ("confirm", "confirm"),
        ("0123456789abcdef0123456789abcdef", "view"),
        ("0123456789ABCDEF0123456789abcdef", "0123456789ABCDEF0123456789abcdef"),
    ],
)
def test_component_name_is_the_stable_part_of_the_custom_id(custom_id: str, name: str):
    assert component_name(custom_id) == name
