"""Jobs in the files of the commands folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from botctl.bot.commands.compiled import ValidationContext
from botctl.bot.loader import load
from botctl.core.errors import CommandFaults
from tests.support.bots import write_commands

GOOD = """
    from botctl import JobRun, job

    @job("every 1h")
    async def tidy(run: JobRun, number: int = 1) -> None:
        "Tidy."
"""


def test_jobs_are_found_without_their_services(tmp_path: Path):
    catalog = load(write_commands(tmp_path / "commands", good=GOOD), ValidationContext(provides=lambda _: False))
    (job,) = catalog.jobs
    assert (job.name, job.summary) == ("tidy", "Tidy.")
    assert catalog.dependencies == set(), "the bot does not wait for what jobs need"


def test_all_faults_of_jobs_are_reported_with_their_lines(tmp_path: Path):
    folder = write_commands(
        tmp_path / "commands",
        bare='from botctl import job\n\n\n@job("every 1h")\nasync def bare(thing) -> None: ...\n',
        bots=(
            "from botctl.bot.client import Bot\nfrom botctl import job\n\n"
            '@job("every 1h")\nasync def talk(bot: Bot) -> None: ...\n'
        ),
        good=GOOD,
        needs='from botctl import job\n\n@job("every 1h")\nasync def needs(path: bytes) -> None: ...\n',
        shipped=GOOD.replace("tidy", "trim_events"),
        twice=GOOD,
        wrong='from botctl import job\n\n@job("often")\nasync def wrong() -> None: ...\n',
    )
    with pytest.raises(CommandFaults) as caught:
        load(folder, ValidationContext(provides=lambda key: key is not bytes, jobs={"trim-events"}))
    found_faults = dict(fault.split(": ", 1) for fault in caught.value.faults)
    assert "neither annotation" in found_faults["commands/bare.py:4"] or "thing" in found_faults["commands/bare.py:4"]
    assert "may run in a process without it" in found_faults["commands/bots.py:4"]
    assert "needs bytes, which no service provides" in found_faults["commands/needs.py:3"]
    assert "is one of botctl's own" in found_faults["commands/shipped.py:4"]
    assert "also in good.py" in found_faults["commands/twice.py:4"]
    assert "the schedule 'often'" in found_faults["commands/wrong.py:3"]
    assert len(found_faults) == 6
