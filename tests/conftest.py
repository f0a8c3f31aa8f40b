"""For all tests: an environment without the developer's own settings, the stores, allowed skips, the order of files."""

from __future__ import annotations

import asyncio
import os

import pytest

pytest_plugins = ["tests.support.skips", "tests.support.stores"]

_SOAK_S = 1800

# Told to the tests themselves, not to botctl. The environment is changed here, before xdist starts its workers. Without
# bytecode, as images of containers have it, every process of the hundreds that are started would compile all of botctl.
_FOR_TESTS = ("BOTCTL_TEST_", "BOTCTL_DISCORD_OPENAPI")

for _name in tuple(os.environ):
    if _name in ("NO_COLOR", "FORCE_COLOR", "PYTHONDONTWRITEBYTECODE") or (
        _name.startswith("BOTCTL_") and not _name.startswith(_FOR_TESTS)
    ):
        del os.environ[_name]

# pytest-asyncio asks for "the current loop" before its first one. Python 3.11 would make one, which nobody ever closes.
asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After the shuffle: system tests first, since who begins a long file last ends alone. Long forms get long."""
    items.sort(key=lambda item: "system" not in item.path.parts)
    for item in items:
        if item.get_closest_marker("soak") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SOAK_S))
