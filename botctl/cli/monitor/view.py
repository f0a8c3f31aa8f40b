"""The screen of `botctl monitor`, for a terminal of any size. Each private function renders one part of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from textwrap import wrap
from typing import Final

from rich.text import Text

from botctl.cli.number_format import format_duration, format_ms, format_time, sparkline
from botctl.cli.text_layout import format_table, side_by_side, spread, truncate, with_label, wrap_items, wrap_words
from botctl.core.contracts.health import Diagnosis, Health
from botctl.core.contracts.service_state import ServiceState
from botctl.core.escape import safe
from botctl.monitor.rows import Presence, Process, ServiceRow, ShardRow
from botctl.monitor.snapshot import CommandSnapshot, JobSnapshot
from botctl.monitor.view import MonitorView, Totals

WIDE_COLUMNS: Final = 140
"""From this width on there are two columns, and one line for each service."""
Lines = list[Text]

_RESULT_STYLES: Final = {"ok": "green", "failed": "bold red", "throttled": "yellow", "denied": "yellow"}
_VERDICT_STYLES: Final = {
    Health.HEALTHY: "not bold green",
    **dict.fromkeys((Health.DEGRADED, Health.DRAINING, Health.STARTING, Health.WAITING), "not bold yellow"),
}
_PRESENCE_STYLES: Final = {Presence.SILENT: "yellow", Presence.INCOMPATIBLE: "yellow"}
_STARTING_STATES: Final = (ServiceState.IDLE, ServiceState.STARTING)
_INDENT: Final = 10  # columns for the label at the left
_MIB: Final = 1024 * 1024
_MIN_COMMANDS: Final = 4  # lines that the other parts leave for the newest commands
_MAX_NAMED_SHARDS: Final = 8  # with more, healthy ones are only counted
_MAX_SENTENCE_LINES: Final = 3  # for each sentence about the worst trouble
_MIN_PROCESS_LINES: Final = 3  # below the head of the table, however long the sentences are
_GUTTER: Final = 4  # blank columns between the left and the right half
_MAX_PROCESS_TABLE_WIDTH: Final = 120  # the eye cannot follow longer rows


def render_waiting(view: MonitorView | None, bot: str, reason: str, size: tuple[int, int]) -> Text:
    """The screen while no process of the bot runs, as far as can be seen."""
    width, height = size
    lines = [
        spread(Text(safe(bot), "bold"), _key_hint(), width),
        Text(),
        Text("Waiting for `botctl run` …", "bold yellow"),
    ]
    lines += [*(Text(line, "dim") for line in wrap(safe(reason), width)), Text()]
    lines += _troubles(view, width, height) if view else []
    return _join_lines(lines[:height])


def render(view: MonitorView, width: int, height: int | None = None, *, live: bool = False) -> Text:
    """The screen for ``view`` in ``width`` columns and at most ``height`` lines (None: no limit)."""
    head = [_title(view, width, live=live), *_totals(view.totals, width)]
    troubles = _troubles(view, width, height)
    process_lines = _fraction(height, 3)
    longer = max(0, len(troubles) - _fraction(height, 6))
    head += [
        *([Text(), *troubles] if troubles else []),
        Text(),
        *_processes(view.processes, width, max(min(_MIN_PROCESS_LINES, process_lines), process_lines - longer)),
    ]
    max_lines = None if height is None else height - len(head) - 1
    body = _two_columns(view, width, max_lines) if width >= WIDE_COLUMNS else _one_column(view, width, max_lines)
    return _join_lines([*head, Text(), *body][:height])


def _fraction(height: int | None, divisor: int) -> int:
    """``height`` divided by ``divisor``, at least 1; 1000 (no limit) if ``height`` is None."""
    return 1000 if height is None else max(1, height // divisor)


def _join_lines(lines: Sequence[Text]) -> Text:
    joined = Text("\n", no_wrap=True, overflow="crop").join(lines)
    joined.no_wrap, joined.overflow = True, "crop"
    return joined


def _one_column(view: MonitorView, width: int, max_lines: int | None) -> Lines:
    """All parts below each other; the newest commands get the remaining lines."""
    inner_width = width - _INDENT
    others = _shards(view.shards, inner_width, max_lines=2)
    others += with_label("jobs", wrap_items([_job(job) for job in view.jobs], inner_width, max_lines=2), _INDENT)
    least = None if max_lines is None else max(0, max_lines - 1 - _MIN_COMMANDS)
    fixed = [*_services(view, width, None if least is None else least - len(others)), *others][:least]
    return [*fixed, Text(), *_commands(view.last, width, None if max_lines is None else max_lines - 1 - len(fixed))]


def _two_columns(view: MonitorView, width: int, max_lines: int | None) -> Lines:
    """Services, shards and jobs on the left, the newest commands on the right."""
    half = (width - _GUTTER) * 11 // 20
    others = [Text(), *_shard_table(view.shards, view.processes, half, max_rows=5)] if view.shards else []
    others += [Text(), *_job_table(view.jobs, half)] if view.jobs else []
    services = _service_table(view.services, view.processes, half)
    if max_lines is not None and len(services) + len(others) > max_lines:
        services = _services(view, half, max_lines - len(others))
    return side_by_side(
        [*services, *others][:max_lines], _commands(view.last, width - half - _GUTTER, max_lines), half, _GUTTER
    )


def _title(view: MonitorView, width: int, *, live: bool) -> Text:
    up = sum(process.presence is Presence.UP for process in view.processes)
    title = Text(safe(view.bot), "bold").append("  ", "not bold")
    verdict = view.health.verdict
    title.append(f"{'✓' if verdict is Health.HEALTHY else '!'} {verdict}", _VERDICT_STYLES.get(verdict, "bold red"))
    title.append(f"  {up} process{'' if up == 1 else 'es'}", "not bold")
    clock = Text(format_time(view.at))
    return spread(title, Text("  ").join([_key_hint(), clock]) if live else clock, width)


def _key_hint() -> Text:
    return Text.assemble(("q", "bold"), (" quits", "dim"))


def _totals(totals: Totals, width: int) -> Lines:
    rate = Text.assemble((f"{totals.rate_per_s:g}", "bold"), (" commands/s", "dim"))
    times = [_labelled(name, format_ms(value)) for name, value in (("p50", totals.p50_ms), ("p99", totals.p99_ms))]
    bar_count = width - sum(text.cell_len + 2 for text in (rate, *times)) - 2
    newest = totals.per_second[max(0, len(totals.per_second) - max(0, bar_count)) :]
    counts = [
        _labelled("commands", f"{totals.total:,}"),
        _labelled("failed", f"{totals.failed:,}", "bold red" if totals.failed else ""),
        _labelled("throttled", f"{totals.throttled:,}", "yellow" if totals.throttled else ""),
        _labelled("denied", f"{totals.denied:,}", "yellow" if totals.denied else ""),
        _labelled("in flight", f"{totals.in_flight:,}"),
        _labelled("autocompletes", f"{totals.autocompletes:,}"),
        _labelled("redis", format_ms(totals.redis_ms)),
        _labelled("mongodb", format_ms(totals.mongo_ms)),
        _labelled("connections", f"{totals.connections:,}"),
        _labelled("dropped events", f"{totals.dropped:,}", "yellow" if totals.dropped else ""),
    ]
    if totals.invalid_requests:  # it is rare, and the line has no space in 80 columns
        counts.append(_labelled("invalid requests", f"{totals.invalid_requests:,}", "yellow"))
    bars = Text(sparkline(newest), "cyan")
    return [truncate(Text("  ").join([rate, bars, *times]), width), *wrap_items(counts, width)]


def _labelled(name: str, value: str, style: str = "") -> Text:
    return Text.assemble((f"{name} ", "dim"), (value, style))


def _troubles(view: MonitorView, width: int, height: int | None) -> Lines:
    """What is wrong. The worst and what to do are wrapped; the others have a line each, and the last one counts."""
    if not view.diagnoses:
        return []
    worst, *others = view.diagnoses
    lines = _worst_trouble(worst, view.health.action, width, min(_MAX_SENTENCE_LINES, _fraction(height, 8)))
    room = max(_fraction(height, 6) - len(lines), 1)
    shown = others if len(others) <= room else others[: room - 1]
    lines += [truncate(_marked(safe(finding.why, width)), width) for finding in shown]
    if len(shown) < len(others):
        lines.append(Text(f"  … and {len(others) - len(shown)} more", "dim"))
    return lines


def _worst_trouble(finding: Diagnosis, action: str, width: int, max_lines: int) -> Lines:
    limit = max_lines * width  # more does not fit
    why = wrap_words(safe(finding.why, limit), width - 2, max_lines=max_lines)
    what = wrap_words(safe(action, limit), width - 2, max_lines=max_lines)
    return [
        _marked(" ".join(why[:1])),
        *(Text(f"  {line}") for line in why[1:]),
        *(Text(f"  {line}", "dim") for line in what),
    ]


def _marked(sentence: str) -> Text:
    return Text.assemble(("! ", "bold yellow"), sentence)


def _processes(processes: Sequence[Process], width: int, max_lines: int) -> Lines:
    """The table of running processes; those that have ended are in `_troubles`."""
    running = [process for process in processes if process.presence is not Presence.GONE]
    shown = running if len(running) <= max_lines else running[: max_lines - 1]
    rows = [_process(process, processes) for process in shown]
    head = ("process", "role", "up", "cpu", "memory", "lag", "cmds/s", "p99")
    lines = format_table(head, rows, min(width, _MAX_PROCESS_TABLE_WIDTH), flexible=1, left="process role")
    if len(shown) < len(running):
        lines.append(Text(f"… and {len(running) - len(shown)} more processes", "dim"))
    return lines


def _process(process: Process, processes: Sequence[Process]) -> tuple[Text | str, ...]:
    name = Text(_short_name(process.proc, processes))
    roles = Text(", ".join(safe(role, 20) for role in process.roles))
    if process.draining:
        roles.append(" stopping", "yellow")
    if process.presence is not Presence.UP:
        roles.append(f"{' ' if roles else ''}{process.presence}", _PRESENCE_STYLES[process.presence])
    if process.uptime_s is None or process.rss_bytes is None or process.rate_per_s is None:
        return (name, roles, *([""] * 6))
    return (
        name,
        roles,
        format_duration(process.uptime_s),
        f"{process.cpu_percent:.0f} %",
        f"{process.rss_bytes / _MIB:.0f} MB",
        format_ms(process.lag_ms),
        f"{process.rate_per_s:g}",
        format_ms(process.p99_ms),
    )


def _services(view: MonitorView, width: int, max_lines: int | None) -> Lines:
    """The services by name, or only their counts if the names do not fit."""
    lines = _service_names(view.services, view.processes, width - _INDENT)
    if max_lines is None or len(lines) <= max_lines:
        return lines
    return _service_counts(view.services, view.processes, width - _INDENT)


def _service_names(services: Sequence[ServiceRow], processes: Sequence[Process], width: int) -> Lines:
    """All services of each process by name, with the ping time where there is one."""
    lines: Lines = []
    for proc, rows in groupby(services, attrgetter("proc")):
        label = "services" if len(processes) == 1 else _short_name(proc, processes, _INDENT - 1)
        lines += with_label(label, wrap_items([_service(row) for row in rows], width), _INDENT)
    return lines


def _service_counts(services: Sequence[ServiceRow], processes: Sequence[Process], width: int) -> Lines:
    items = []
    for proc, group in groupby(services, attrgetter("proc")):
        rows = list(group)
        healthy = sum(row.well for row in rows)
        style = "green" if healthy == len(rows) else "yellow"
        items.append(Text.assemble((f"{healthy}/{len(rows)}", style), (f" {_short_name(proc, processes)}", "dim")))
    return with_label("services", wrap_items(items, width, max_lines=2), _INDENT)


def _service_table(services: Sequence[ServiceRow], processes: Sequence[Process], width: int) -> Lines:
    rows = [
        (
            _mark(row) + Text(f" {safe(row.name, 24)}"),
            _short_name(row.proc, processes),
            safe(row.state, 20),
            _ping_time(row),
            Text(safe(row.detail), "dim"),
        )
        for row in services
    ]
    return format_table(
        ("service", "process", "state", "ping", "detail"), rows, width, flexible=4, left="service process state detail"
    )


def _service(row: ServiceRow) -> Text:
    ping_time = _ping_time(row)
    item = _mark(row) + Text(f" {safe(row.name, 24)}")
    return item.append(f" {ping_time}", "dim") if ping_time else item


def _mark(row: ServiceRow) -> Text:
    if row.well:
        return Text("✓", "green")
    return Text("…", "yellow") if row.state in _STARTING_STATES else Text("!", "bold yellow")


def _ping_time(row: ServiceRow) -> str:
    return format_ms(row.took_ms) if row.took_ms else ""


def _shards(shards: Sequence[ShardRow], width: int, *, max_lines: int) -> Lines:
    """The shards; unhealthy ones first, because not all may fit. Of many, the healthy ones are counted."""
    ordered = sorted(shards, key=attrgetter("well"))
    items = [_shard(shard) for shard in ordered]
    if len(shards) > _MAX_NAMED_SHARDS:
        well = [shard for shard in shards if shard.well]
        slowest = format_ms(max((shard.latency_ms for shard in well if shard.latency_ms is not None), default=None))
        style = "green" if len(well) == len(shards) else "yellow"
        count = Text.assemble((f"{len(well)}/{len(shards)}", style), (f" up to {slowest}", "dim"))
        items = [count, *(_shard(shard) for shard in ordered if not shard.well)]
    return with_label("shards", wrap_items(items, width, max_lines=max_lines), _INDENT)


def _shard(shard: ShardRow) -> Text:
    state = format_ms(shard.latency_ms) if shard.well else _shard_state(shard)
    return _shard_mark(shard).append(f" {state}", "dim")


def _shard_state(shard: ShardRow) -> str:
    """``ready``, ``deaf``; ``heartbeats only`` where nothing can be asked, because the shard is in no guild."""
    if shard.verdict is not Health.HEALTHY:
        return shard.verdict
    return safe(shard.state, 20) if shard.can_ask or not shard.well else "heartbeats only"


def _shard_mark(shard: ShardRow) -> Text:
    mark, style = ("✓", "green") if shard.well else ("!", "bold yellow")
    return Text(mark, style).append(f" #{shard.id}", "default")


def _shard_table(shards: Sequence[ShardRow], processes: Sequence[Process], width: int, *, max_rows: int) -> Lines:
    """A line for each shard, unhealthy ones first; the last line counts those that do not fit."""
    ordered = sorted(shards, key=attrgetter("well"))
    shown = ordered if len(ordered) <= max_rows else ordered[: max_rows - 1]
    rows = [
        (
            _shard_mark(shard),
            _short_name(shard.proc, processes),
            _shard_state(shard),
            format_ms(shard.latency_ms),
            f"{shard.guilds:,}",
            format_time(shard.last_event_at or ""),
            Text(_last_close(shard), "dim"),
        )
        for shard in shown
    ]
    head = ("shard", "process", "state", "ping", "guilds", "event", "lost")
    lines = format_table(head, rows, width, flexible=6, left="shard process state event lost")
    if len(shown) < len(shards):
        lines.append(Text(f"… and {len(shards) - len(shown)} more shards", "dim"))
    return lines


def _last_close(shard: ShardRow) -> str:
    """When and why its last connection ended."""
    return f"{format_time(shard.last_close_at or '')} {safe(shard.last_close)}" if shard.last_close else ""


def _job(job: JobSnapshot) -> Text:
    item = _job_mark(job) + Text(f" {safe(job.name, 40)}")
    return item.append(f" {format_time(job.last_run)}" if job.last_run else "", "dim")


def _job_mark(job: JobSnapshot) -> Text:
    if job.running:
        return Text("…", "cyan")
    if job.paused:
        return Text("‖", "yellow")
    if job.outcome is None:
        return Text("·", "dim")
    return Text("✓", "green") if job.outcome == "ok" else Text("!", "bold yellow")


def _job_table(jobs: Sequence[JobSnapshot], width: int) -> Lines:
    rows = [
        (
            _job_mark(job) + Text(f" {safe(job.name, 40)}"),
            "running" if job.running else safe(job.outcome or "-", 20),
            format_time(job.last_run) if job.last_run else "-",
            format_ms(job.took_ms),
            "paused" if job.paused else format_time(job.next_due) if job.next_due else "-",
            Text(safe(job.schedule), "dim"),
        )
        for job in jobs
    ]
    head = ("job", "result", "last", "took", "next", "schedule")
    return format_table(head, rows, width, flexible=5, left="job result schedule")


def _commands(last: Sequence[CommandSnapshot], width: int, max_lines: int | None) -> Lines:
    """The last commands of users, the newest first."""
    rows = [
        (
            format_time(command.at),
            safe(command.name, 60),
            Text(safe(command.user, 40), "dim"),
            Text(safe(command.result, 12), _RESULT_STYLES.get(command.result, "")),
            format_ms(command.ms),
        )
        for command in last[: None if max_lines is None else max(0, max_lines - 1)]
    ]
    if not rows:
        return [] if last else [Text("no commands yet", "dim")]
    return format_table(("at", "command", "by", "result", "took"), rows, width, flexible=2, left="at command by result")


def _short_name(proc: str, processes: Sequence[Process], limit: int = 24) -> str:
    """``host:pid`` without the host's domain; only the pid if all ``processes`` are on one host."""
    host, _, pid = proc.rpartition(":")
    hosts = {process.proc.rpartition(":")[0] for process in processes}
    if len(hosts) == 1:
        return safe(f"pid {pid}", limit)
    host_limit = max(1, limit - len(pid) - 1)
    return safe(f"{safe(host.partition('.')[0], host_limit)}:{pid}", limit)
