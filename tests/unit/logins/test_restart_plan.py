"""What a restart costs."""

from __future__ import annotations

from datetime import UTC, datetime

from botctl.core.clock import unix_ms
from botctl.core.contracts.logins import SPACING_S
from botctl.logins.budget import Budget
from botctl.logins.restart_plan import plan_restart

NO_SESSION = dict.fromkeys(range(4), "no session is stored")
RESETS = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def budget(left: int) -> Budget:
    return Budget(1000, left, 50, 1000 - left, unix_ms(RESETS))


def test_each_shard_has_its_turn() -> None:
    plan = plan_restart(range(4), budget(900), 2, why_login=NO_SESSION)
    assert [(row.shard, row.how, row.at_s) for row in plan.shards] == [
        (0, "login", 0.0),
        (1, "login", 0.0),
        (2, "login", SPACING_S),
        (3, "login", SPACING_S),
    ]
    assert (plan.logins, plan.last_s, plan.left_after, plan.waits_until) == (4, SPACING_S, 896, None)


def test_restart_that_the_budget_does_not_allow_waits_for_the_reset() -> None:
    assert plan_restart(range(4), budget(54), 2, why_login=NO_SESSION).waits_until is None
    assert plan_restart(range(4), budget(53), 2, why_login=NO_SESSION).waits_until == RESETS


def test_shards_that_resume_cost_nothing_and_need_no_turn() -> None:
    plan = plan_restart(range(3), budget(50), 1, why_login={0: "", 1: "the file is gone", 2: ""})
    assert [(row.shard, row.how, row.at_s, row.why) for row in plan.shards] == [
        (0, "resume", 0.0, ""),
        (1, "login", 0.0, "the file is gone"),
        (2, "resume", 0.0, ""),
    ]
    assert (plan.logins, plan.last_s, plan.left_after, plan.waits_until) == (1, 0.0, 49, RESETS)
    none = plan_restart(range(3), budget(50), 1, why_login=dict.fromkeys(range(3), ""))
    assert (none.logins, none.left_after, none.waits_until) == (0, 50, None)
