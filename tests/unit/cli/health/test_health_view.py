"""What `botctl health` prints, and which calls of it need no Typer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from botctl.cli.health.check import parse_plain
from botctl.cli.health.view import describe, render
from botctl.core.contracts.health import ALL_IS_WELL, Diagnosis, Health
from botctl.core.processes.runtime import Run
from botctl.monitor.health_client import Heard

STORE = Diagnosis(
    verdict=Health.DEGRADED, proc="vm:2", why="redis of vm:2 is degraded", action="look at `botctl stores`"
)
NO_JOBS = Diagnosis(verdict=Health.ABSENT, why="no process has run with the role jobs for 12 s", action="start it")


def answer(pid: int, health: Diagnosis, **more: Any) -> dict[str, Any]:
    plain = {"v": 1, "proc": f"vm:{pid}", "roles": ["bot"], "late_s": 0.0, "blocker": None, "bot": None}
    return plain | {"health": asdict(health)} | more


def test_one_process_is_one_line() -> None:
    assert render(describe(Heard((answer(1, ALL_IS_WELL),)))) == ["healthy: all is well"]
    assert render(describe(Heard((answer(2, STORE),)))) == [
        "degraded: redis of vm:2 is degraded → look at `botctl stores`"
    ]


def test_worst_of_several_processes_comes_first() -> None:
    heard = Heard((answer(1, ALL_IS_WELL), answer(2, STORE, roles=["web"])), (Run(3, ("jobs",)),))
    lines = render(describe(heard))
    assert lines[0].startswith("blocked: process 3 (jobs) runs on this host")
    assert lines[1] == "  healthy   vm:1 (bot): all is well"
    assert lines[2].startswith("  blocked   no answer (jobs): process 3 (jobs) runs")
    assert lines[3] == "  degraded  vm:2 (web): redis of vm:2 is degraded → look at `botctl stores`"


@pytest.mark.parametrize("order", [1, -1])
def test_processes_come_in_the_order_of_their_roles(order: int) -> None:
    """Whichever of them has answered first."""
    answers = (answer(1, ALL_IS_WELL, roles=["web"]), answer(3, ALL_IS_WELL), answer(2, ALL_IS_WELL))[::order]
    assert [process.proc for process in describe(Heard(answers)).processes] == ["vm:2", "vm:3", "vm:1"]


def test_first_line_says_if_it_is_about_the_bot_and_no_process() -> None:
    lines = render(describe(Heard((answer(1, ALL_IS_WELL, bot=asdict(NO_JOBS)), answer(2, ALL_IS_WELL)))))
    assert lines[0] == "absent (the whole bot): no process has run with the role jobs for 12 s → start it"
    assert [line.split()[0] for line in lines[1:]] == ["healthy", "healthy"]
    well, of_process = (answer(2, ALL_IS_WELL), answer(2, STORE, bot=asdict(STORE)))
    assert render(describe(Heard((answer(1, ALL_IS_WELL), well))))[0] == "healthy: all is well"
    assert render(describe(Heard((answer(1, ALL_IS_WELL), of_process))))[0].startswith("degraded: redis of vm:2")


def test_process_that_has_recovered_is_not_what_it_was_at_its_last_look_at_the_bot() -> None:
    starts = Diagnosis(verdict=Health.STARTING, proc="vm:1", why="vm:1 is starting: logins")
    assert render(describe(Heard((answer(1, ALL_IS_WELL, bot=asdict(starts)),)))) == ["healthy: all is well"]
    of_other = describe(Heard((answer(1, ALL_IS_WELL), answer(2, ALL_IS_WELL, bot=asdict(starts)))))
    assert of_other.health == starts, "what another one says of it may be what it cannot know"


def test_verdict_on_the_bot_counts_too() -> None:
    """One process knows that the one with the jobs has gone, though this process itself is well."""
    report = describe(Heard((answer(1, ALL_IS_WELL, bot=asdict(NO_JOBS)),)))
    assert (report.health, report.processes[0].health) == (NO_JOBS, ALL_IS_WELL)
    assert not report.health.verdict.works


def test_texts_do_nothing_to_the_terminal() -> None:
    odd = Diagnosis(verdict=Health.DEGRADED, why="\x9b2J", action="\x1b[2J")
    assert all(line.isprintable() for line in render(describe(Heard((answer(1, odd), answer(2, odd, proc="\x1b"))))))


def test_fields_of_a_newer_version_are_ignored() -> None:
    assert describe(Heard((answer(1, ALL_IS_WELL) | {"new": 1, "health": asdict(STORE) | {"new": 2}},))).health == STORE


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", (None, False)),
        ("--json", (None, True)),
        ("--project a --json", (Path("a"), True)),
        ("--json --project=a=b", (Path("a=b"), True)),
        ("--project", None),
        ("--project=", None),
        ("--project --json", None),
        ("--help", None),
        ("-h", None),
        ("--jsno", None),
        ("bot", None),
        ("--json=1", None),
        ("-- --json", None),
    ],
)
def test_only_plain_calls_pass_typer_by(arguments: str, expected: tuple[Path | None, bool] | None) -> None:
    assert parse_plain(arguments.split()) == expected
