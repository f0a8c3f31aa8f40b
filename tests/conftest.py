"""For all tests: a clean environment, the stores, the allowed skips, the order of tests."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from botctl.core.event_loop.lag import LAG

pytest_plugins = ["tests.support.skips", "tests.support.stores"]

# On a machine under load examples take longer, and that says nothing about the code: no test is judged by its time.
settings.register_profile("botctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("botctl")

_SOAK_S = 4 * 3600  # only ends a hang, as pyproject.toml does for the others

# These variables are for the tests, not for botctl. The environment is changed here, before xdist starts its workers.
# With PYTHONDONTWRITEBYTECODE, as in many container images, each of hundreds of processes would compile all of botctl.
_TEST_VARIABLES = ("BOTCTL_TEST_", "BOTCTL_DISCORD_OPENAPI")

for _name in tuple(os.environ):
    if _name in ("NO_COLOR", "FORCE_COLOR", "PYTHONDONTWRITEBYTECODE") or (
        _name.startswith("BOTCTL_") and not _name.startswith(_TEST_VARIABLES)
    ):
        del os.environ[_name]

# Started by nohup, or in the background of a script, a process ignores these signals, and so do its children: they are
# tested as from a terminal.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest-asyncio asks for the current loop before its first one. Python 3.11 would create one that is never closed.
asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """System tests first: a long file that starts last would run alone at the end. Soak tests get a long timeout."""
    items.sort(key=lambda item: "system" not in item.path.parts)
    for item in items:
        if item.get_closest_marker("soak") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SOAK_S))


@pytest.fixture
def own_lag() -> Iterator[None]:
    """The event loop of this process has just been 20 s late."""
    LAG.record(20.0, next_in_s=float("inf"))
    yield
    LAG.clear()
