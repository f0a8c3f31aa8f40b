"""What `botctl gateway` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from botctl.cli.number_format import format_duration, format_ms, format_time
from botctl.core.clock import from_unix_ms, iso_ms
from botctl.core.escape import safe
from botctl.core.plural import counted
from botctl.logins.budget import Budget
from botctl.run.oneshot.gateway import GatewayReport


def render_status(report: GatewayReport) -> Iterator[RenderableType]:
    """The shards, the budget, and who has the token."""
    logins = report.logins
    if report.shards:
        table = _table("shard", "state", "latency", "guilds", "last close")
        for shard in report.shards:
            closed = f"{format_time(shard.last_close_at or '')} {shard.last_close}" if shard.last_close else "-"
            table.add_row(
                str(shard.id), safe(shard.state), format_ms(shard.latency_ms), f"{shard.guilds:,}", safe(closed)
            )
        yield table
    else:
        yield Text("No process of this bot reports a shard.", "dim")
    yield Text(_describe(logins.budget))
    yield Text(f"{logins.max_concurrency} at a time (max_concurrency); {logins.budget.used:,} in the last 24 h.", "dim")
    yield Text(f"The token is in use by {logins.holder}." if logins.holder else "No process is known to use the token.")
    if report.waiting:
        yield Text(f"It is {safe(report.waiting)}", "yellow")
    if logins.note:
        yield Text(safe(logins.note), "yellow")


def render_plan(report: GatewayReport) -> Iterator[RenderableType]:
    """What a restart costs: a line for each shard, and the sum."""
    plan, budget = report.plan, report.logins.budget
    table = _table("shard", "how", "after", "why")
    for row in plan.shards:
        table.add_row(str(row.shard), row.how, format_duration(row.at_s), safe(row.why))
    yield table
    if not plan.logins:
        yield Text(f"No login of {budget.left:,}: every session can be resumed, if Discord still has it.")
        return
    cost = counted(plan.logins, "login")
    yield Text(f"{cost} of {budget.left:,}; the last one {format_duration(plan.last_s)} after the first.")
    if plan.waits_until:
        until = f"{plan.waits_until:%Y-%m-%d %H:%M} UTC"
        yield Text(
            f"Only {budget.spendable:,} may be spent by automatic starts ({budget.reserve:,} are in reserve): the "
            f"others wait until {until}. `botctl gateway login` takes the reserve.",
            "yellow",
        )


def status_json(report: GatewayReport) -> dict[str, Any]:
    """The report under its public keys."""
    logins = report.logins
    return {
        "shards": [asdict(shard) for shard in report.shards],
        "logins": _budget_json(logins.budget) | {"max_concurrency": logins.max_concurrency},
        "holder": asdict(logins.holder) if logins.holder else None,
        "waiting": report.waiting,
        "note": logins.note,
    }


def plan_json(report: GatewayReport) -> dict[str, Any]:
    """The plan under its public keys."""
    plan = report.plan
    return {
        "shards": [asdict(row) for row in plan.shards],
        "logins": plan.logins,
        "last_s": plan.last_s,
        "left_after": plan.left_after,
        "waits_until": iso_ms(plan.waits_until) if plan.waits_until else None,
        "budget": _budget_json(report.logins.budget),
    }


def _budget_json(budget: Budget) -> dict[str, Any]:
    return {
        "total": budget.total,
        "left": budget.left,
        "spendable": budget.spendable,
        "reserve": budget.reserve,
        "used_24h": budget.used,
        "resets_at": iso_ms(from_unix_ms(budget.resets_ms)),
    }


def _describe(budget: Budget) -> str:
    resets = f"{from_unix_ms(budget.resets_ms):%Y-%m-%d %H:%M} UTC"
    return f"{budget.left:,} of {budget.total:,} logins left until {resets}, {budget.reserve:,} of them in reserve."


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name, justify="left" if name in ("state", "how", "last close", "why") else "right")
    return table
