"""What the doctor says of the bot, from the verdicts of its processes."""

import json

import pytest

from botctl.core.contracts.health import ALL_IS_WELL, Diagnosis, Health
from botctl.core.processes.runtime import Run
from botctl.doctor.bot import assess_bot
from botctl.doctor.finding import Mark
from botctl.monitor.health_answer import HealthAnswer, as_json
from botctl.monitor.health_client import Heard
from botctl.run.oneshot.doctor import diagnoses_of

EMPTIED = Diagnosis(
    verdict=Health.DEGRADED, proc="vm:1", why="redis of vm:1: the database was emptied", action="restart botctl"
)
ABSENT = Diagnosis(verdict=Health.ABSENT, why="no process has the role web", action="start it")


def answer(*diagnoses: Diagnosis, bot: Diagnosis | None = ALL_IS_WELL, v: int = 1) -> dict:
    given = HealthAnswer(v=v, proc="vm:1", roles=("bot",), health=ALL_IS_WELL, diagnoses=diagnoses, bot=bot)
    return json.loads(as_json(given))


def test_healthy_bot_is_well():
    (line,) = assess_bot(diagnoses_of(Heard((answer(), answer(bot=None)))))
    assert (line.check, line.mark, line.sentence) == ("bot", Mark.OK, "the bot is healthy")


@pytest.mark.parametrize("heard", [Heard(), Heard((answer(v=2),))])
def test_no_process_that_tells_is_no_fault(heard):
    (line,) = assess_bot(diagnoses_of(heard))
    assert (line.check, line.mark) == ("bot", Mark.UNKNOWN)
    assert "`botctl run`" in line.sentence


def test_each_diagnosis_is_one_fault_with_its_action():
    heard = Heard((answer(EMPTIED, bot=EMPTIED), answer(bot=ABSENT), answer(bot=ABSENT)), (Run(7, ("jobs",)),))
    emptied, silent, absent = assess_bot(diagnoses_of(heard))
    assert (emptied.mark, emptied.sentence) == (Mark.FAULT, f"degraded: {EMPTIED.why}")
    assert emptied.mend == "Restart botctl."
    assert absent.sentence == f"absent: {ABSENT.why}"
    assert silent.sentence.startswith("blocked: ")
    assert "jobs" in silent.sentence


@pytest.mark.parametrize("verdict", [verdict for verdict in Health if verdict is not Health.HEALTHY])
def test_only_a_start_and_a_stop_are_no_faults(verdict):
    (line,) = assess_bot([Diagnosis(verdict=verdict, why="why it is")])
    passes = verdict in (Health.STARTING, Health.DRAINING)
    assert line.mark is (Mark.UNKNOWN if passes else Mark.FAULT)
    assert bool(line.mend) is not passes


def test_secrets_and_control_characters_are_taken_out():
    (line,) = assess_bot([Diagnosis(verdict=Health.DEGRADED, why="redis://u:canary@h \x1b[2J", action="see \x1b")])
    assert "canary" not in line.sentence
    assert "\x1b" not in line.sentence + line.mend
