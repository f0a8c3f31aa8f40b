"""Checks run at the same time, each within its own limit, and none stops another one."""

import asyncio
import threading

import pytest

from botctl.core.errors import ConfigError
from botctl.doctor.checks import Check, in_own_thread, run_checks
from botctl.doctor.finding import Mark, ok
from tests.support.waiting import expires

TEN_S = expires(10.0)  # of a virtual clock


def check(name, examine, limit_s=TEN_S):
    return Check(name, examine, limit_s, "Look there.")


@pytest.mark.looptime
async def test_checks_run_at_the_same_time_and_keep_their_order():
    loop = asyncio.get_running_loop()

    async def slow(name):
        await asyncio.sleep(9)
        return [ok(name, "well")]

    began = loop.time()
    found = await run_checks([check("b", lambda: slow("b")), check("a", lambda: slow("a"))])
    assert [finding.check for finding in found] == ["b", "a"]
    assert loop.time() - began < 10


@pytest.mark.looptime
async def test_a_check_that_takes_too_long_is_a_fault_with_its_mend_and_the_others_go_on():
    async def never():
        await asyncio.Event().wait()

    async def quick():
        return [ok("quick", "well")]

    late, well = await run_checks([check("late", never), check("quick", quick)])
    assert (late.mark, late.mend) == (Mark.FAULT, "Look there.")
    assert "10 s" in late.sentence
    assert well.mark is Mark.OK


async def test_an_expected_error_is_a_fault_and_an_unexpected_one_is_not_known():
    async def refused():
        raise ConfigError("it is wrong", hint="Correct it.")

    async def bug():
        raise KeyError("x")

    async def own_timeout():
        raise TimeoutError

    wrong, unknown, timeout = await run_checks([check("a", refused), check("b", bug), check("c", own_timeout)])
    assert (wrong.mark, wrong.sentence, wrong.mend) == (Mark.FAULT, "it is wrong", "Correct it.")
    assert unknown.mark is Mark.UNKNOWN
    assert "KeyError" in unknown.sentence
    assert timeout.mark is Mark.UNKNOWN  # no limit of ours


async def test_a_call_that_hangs_is_left_behind():
    gate = threading.Event()
    found = await run_checks([check("disk", lambda: in_own_thread(gate.wait), expires(0.01))])
    assert [finding.mark for finding in found] == [Mark.FAULT]
    gate.set()


async def test_what_an_author_raises_in_a_thread_is_raised_here():
    def leave():
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        await in_own_thread(leave)
    assert await in_own_thread(lambda: 5) == 5
