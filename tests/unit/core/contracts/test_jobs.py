"""What `@job` makes of a function."""

from __future__ import annotations

import pytest

import botctl
from botctl.core.contracts.bus import Bus
from botctl.core.contracts.jobs import JobRun, Jobs, MissedPolicy, get_declared_job, job
from botctl.core.errors import UsageError


async def tidy_up(bus: Bus, run: JobRun, size: int = 5) -> None:
    """Put things in order.

    All of them.
    """


def test_decorated_function_becomes_a_job():
    found = get_declared_job(job("every  10s")(tidy_up))
    assert found is not None
    assert (found.name, found.schedule.text, found.missed) == ("tidy-up", "every 10s", MissedPolicy.ONCE)
    assert found.summary == "Put things in order."
    assert found.dependencies == (Bus,), "neither what is optional, nor the run itself"


def test_undeclared_function_is_not_a_job():
    assert get_declared_job(pytest) is None


def test_job_is_exported_by_botctl():
    assert (botctl.job, botctl.JobRun) == (job, JobRun)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"when": "often"}, "schedule 'often'"),
        ({"when": "every 1h", "name": "Tidy Up"}, "job name 'Tidy Up'"),
        ({"when": "every 1h", "missed": "twice"}, "missed='twice'"),
        ({"when": "every 1h", "timeout_s": 0}, "timeout_s=0"),
    ],
)
def test_invalid_declaration_raises(arguments, words):
    with pytest.raises(ValueError, match=words):
        job(**arguments)(tidy_up)


def test_sync_function_is_not_a_job():
    def blocking() -> None: ...

    with pytest.raises(TypeError, match="async def"):
        job("every 1h")(blocking)


def test_job_is_found_by_its_name():
    tidy = get_declared_job(job("every 1h", name="tidy")(tidy_up))
    assert Jobs([tidy]).named("tidy") is tidy
    with pytest.raises(UsageError, match="no job 'x'"):
        Jobs([tidy]).named("x")
