"""What `botctl gateway` prints."""

from __future__ import annotations

from datetime import UTC, datetime

from botctl.cli.gateway.view import plan_json, render_plan, render_status, status_json
from botctl.cli.output import render_plain
from botctl.core.clock import unix_ms
from botctl.logins.budget import Budget
from botctl.logins.report import LoginReport
from botctl.monitor.snapshot import ShardSnapshot
from botctl.run.oneshot.gateway import GatewayReport

RESETS = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
CLOSED = "2026-01-01T00:00:00Z"


def budget(left: int) -> Budget:
    return Budget(1000, left, 50, 1000 - left, unix_ms(RESETS))


def report(left: int, shards: int = 4, why: str = "no session is stored") -> GatewayReport:
    rows = tuple(
        ShardSnapshot(id=n, state="ready", guilds=1500, last_close="4000, \x1b[31mred", last_close_at=CLOSED)
        for n in range(shards)
    )
    logins = LoginReport(budget(left), 2, note="Redis is away")
    return GatewayReport(rows, logins, "waiting for logins until noon", dict.fromkeys(range(shards), why))


def test_status() -> None:
    text = render_plain(*render_status(report(900)))
    for part in ("1,500", "900 of 1,000 logins left until 2026-01-02 03:04 UTC, 50 of them in reserve.", "red"):
        assert part in text
    assert "It is waiting for logins until noon" in text
    assert "Redis is away" in text
    assert "\x1b" not in text


def test_status_without_shards() -> None:
    text = render_plain(*render_status(report(900, 0)))
    assert "No process of this bot reports a shard." in text


def test_plan_says_what_waits() -> None:
    text = render_plain(*render_plan(report(52)))
    assert "4 logins of 52; the last one 6 s after the first." in text
    assert "Only 2 may be spent by automatic starts (50 are in reserve)" in text
    assert "in reserve" not in render_plain(*render_plan(report(900)))


def test_plan_without_a_login() -> None:
    assert "No login of 52" in render_plain(*render_plan(report(52, why="")))
    assert "no session is stored" in render_plain(*render_plan(report(52)))


def test_json_has_the_times() -> None:
    assert status_json(report(900))["logins"]["resets_at"] == "2026-01-02T03:04:00.000Z"
    plan = plan_json(report(52))
    assert (plan["waits_until"], plan["budget"]["spendable"]) == ("2026-01-02T03:04:00.000Z", 2)
