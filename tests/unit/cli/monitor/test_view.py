"""The screen of `botctl monitor` at fixed sizes."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from botctl.cli.monitor.view import WIDE_COLUMNS, render, render_waiting
from botctl.core.contracts.health import Diagnosis, Health, worst
from botctl.monitor.rows import Presence, Process, ServiceRow, ShardRow
from botctl.monitor.snapshot import CommandSnapshot, JobSnapshot
from botctl.monitor.view import MonitorView, Totals

SERVICES = ("redis", "mongo", "sandbox", "metrics", "events", "limits", "audit", "monitor", "relay", "guilds", "bot")


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def process(pid: int, host: str = "alpha", **more: object) -> Process:
    plain = Process(
        proc=f"{host}:{pid}",
        presence=Presence.UP,
        age_s=0.4,
        version="1",
        roles=("bot",),
        uptime_s=7500.0,
        rss_bytes=82 << 20,
        cpu_percent=3.4,
        lag_ms=2.14,
        rate_per_s=12.4,
        p99_ms=180.0,
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def services(proc: str, **more: object) -> tuple[ServiceRow, ...]:
    plain = ServiceRow(proc=proc, name="", state="ready", well=True, detail="", took_ms=None, restarts=0)
    rows = (replace(plain, name=name) for name in SERVICES)
    return tuple(replace(row, took_ms=0.4, **more) if row.name == "redis" else row for row in rows)  # type: ignore[arg-type]


def not_well(*sentences: str, action: str = "") -> dict[str, Any]:
    """The fields of a view in which all these make the bot degraded."""
    found = tuple(Diagnosis(verdict=Health.DEGRADED, why=sentence, action=action) for sentence in sentences)
    return {"health": worst(found), "diagnoses": found, "troubles": sentences}


def view(*pids: int, **more: object) -> MonitorView:
    pids = pids or (4711,)
    plain = MonitorView(
        bot="dice",
        at="2026-01-02T18:24:05.000Z",
        totals=Totals(
            rate_per_s=12.4,
            per_second=tuple(range(59)),
            p50_ms=4.2,
            p99_ms=1800.0,
            total=123456,
            failed=3,
            throttled=5,
            in_flight=1,
            redis_ms=0.4,
            mongo_ms=1.2,
        ),
        processes=tuple(process(pid) for pid in pids),
        services=tuple(row for pid in pids for row in services(f"alpha:{pid}")),
        shards=(ShardRow(proc="alpha:4711", id=0, state="ready", latency_ms=41.2),),
        jobs=(JobSnapshot(name="trim", schedule="every 10m", outcome="ok", last_run="2026-01-02T18:20:00.000Z"),),
        last=tuple(
            CommandSnapshot(name=f"roll {n}", user="ann", result="ok", ms=12.3, at=f"2026-01-02T18:24:{59 - n:02}.000Z")
            for n in range(40)
        ),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def lines(what: Text, width: int, *, colour: bool = False) -> list[str]:
    out = io.StringIO()
    system = "truecolor" if colour else None
    Console(file=out, width=width, color_system=system, force_terminal=colour, legacy_windows=False).print(what)
    return [line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")]


def shown(what: MonitorView, width: int, height: int | None = None) -> list[str]:
    return lines(render(what, width, height, live=True), width)


def test_screen_fits_80_by_24():
    """The most important parts; the last commands get the remaining lines."""
    rows = shown(view(), 80, 24)
    assert rows[:15] == [
        "dice  ✓ healthy  1 process                                     q quits  18:24:05",
        "12.4 commands/s  ▄▄▄▄▅▅▅▅▅▅▅▅▅▆▆▆▆▆▆▆▆▇▇▇▇▇▇▇▇█████████  p50 4.2 ms  p99 1.8 s",
        "commands 123,456  failed 3  throttled 5  denied 0  in flight 1  autocompletes 0",
        "redis 0.4 ms  mongodb 1.2 ms  connections 0  dropped events 0",
        "",
        "process   role                           up  cpu  memory     lag  cmds/s     p99",
        "pid 4711  bot                     2 h 5 min  3 %   82 MB  2.1 ms    12.4  180 ms",
        "",
        "services  ✓ redis 0.4 ms  ✓ mongo  ✓ sandbox  ✓ metrics  ✓ events  ✓ limits",
        "          ✓ audit  ✓ monitor  ✓ relay  ✓ guilds  ✓ bot",
        "shards    ✓ #0 41 ms",
        "jobs      ✓ trim 18:20:00",
        "",
        "at        command  by                                              result   took",
        "18:24:59  roll 0   ann                                             ok      12 ms",
    ]
    assert len(rows) == 24


def test_invalid_requests_are_shown_if_there_are_any():
    rows = shown(view(totals=Totals(invalid_requests=1204)), 80)
    assert any("invalid requests 1,204" in line for line in rows)
    assert not any("invalid requests" in line for line in shown(view(), 80))


def test_screen_fits_200_by_60():
    """Two columns, one line for each service, and more of the last commands."""
    rows = shown(view(1, 2), 200, 60)
    assert len(rows) <= 60
    assert sum("✓ redis" in line for line in rows) == 2
    assert any("every 10m" in line for line in rows)
    assert any("roll 39" in line for line in rows)
    assert any("✓ redis" in line and "roll" in line for line in rows)


def test_troubles_come_before_everything_else():
    """As sentences; the marks of the parts are there, too."""
    troubled = view(
        services=services("alpha:4711", well=False, state="degraded"),
        shards=(ShardRow(proc="alpha:4711", id=1, state="disconnected", latency_ms=None),),
        **not_well("redis of alpha:4711 is degraded: it is started again", "shard 1 is lost", action="wait"),
    )
    rows = shown(troubled, 80, 24)
    assert "! degraded" in rows[0]
    assert rows[5:8] == ["! redis of alpha:4711 is degraded: it is started again", "  wait", "! shard 1 is lost"]
    text = "\n".join(rows)
    assert "! redis" in text
    assert "! #1 disconnected" in text


def test_many_troubles_are_counted():
    """The other parts keep their lines."""
    rows = shown(view(**not_well(*(f"trouble {n}" for n in range(30)))), 80, 24)
    assert rows[5:9] == ["! trouble 0", "! trouble 1", "! trouble 2", "  … and 27 more"]
    assert len(rows) == 24
    assert "roll 0" in "\n".join(rows)


LONG = (
    "the disk of /tmp/a-folder-with-a-name/and-another-folder/project is full, and so no snapshot of this process "
    "can be written since 13:39:50 UTC"
)
LONG_ACTION = "If that was you, restart botctl, which accepts it. Else stop botctl, and restore a backup, please"


def test_worst_trouble_is_wrapped_and_the_others_are_cut():
    """What to do stands in the second half of the sentences."""
    rows = shown(view(*range(1, 31), **not_well(LONG, LONG, "short", action=LONG_ACTION)), 80, 24)
    assert rows[5:11] == [
        "! the disk of /tmp/a-folder-with-a-name/and-another-folder/project is full, and",
        "  so no snapshot of this process can be written since 13:39:50 UTC",
        "  If that was you, restart botctl, which accepts it. Else stop botctl, and",
        "  restore a backup, please",
        "  … and 2 more",
        "",
    ]
    assert shown(view(**not_well(LONG, LONG)), 80, 24)[7].endswith("…")
    assert len(rows) == 24
    assert "roll 0" in "\n".join(rows)


def test_worst_trouble_has_three_lines_for_each_sentence():
    """The rest is cut; the newest commands keep a line."""
    rows = shown(view(*range(1, 31), **not_well(9 * f"{LONG} ", "x", action=9 * f"{LONG_ACTION} ")), 80, 24)
    assert [line[:3] for line in rows[5:12]] == ["! t", *["  " + line[2] for line in rows[6:11]], "! x"]
    assert rows[7].endswith("…")
    assert rows[10].endswith("…")
    assert "… and 26 more processes" in rows
    assert "roll 0" in "\n".join(rows)


def test_many_processes_leave_lines_for_commands():
    """Services become counts, not all processes are listed, a few commands stay."""
    rows = shown(view(*range(1, 31)), 80, 24)
    assert len(rows) == 24
    assert "… and 23 more processes" in rows
    assert "services  11/11 pid 1" in "\n".join(rows)
    assert "roll 2" in rows[-1]


def test_wide_screen_always_shows_shards_and_jobs():
    """Services lose first their lines, then their names."""
    few, many = shown(view(*range(1, 9)), 200, 60), shown(view(*range(1, 40)), 200, 40)
    for rows in (few, many):
        text = "\n".join(rows)
        assert "✓ #0" in text
        assert "every 10m" in text
    assert "✓ mongo  ✓ sandbox" in "\n".join(few)
    assert "11/11 pid 1 " in "\n".join(many)


def test_process_names_are_as_short_as_possible():
    """Only the pid on one host; else with the host, without its domain. Unhealthy ones have a word."""
    one = view(processes=(process(1), process(2, draining=True), process(3, presence=Presence.SILENT)))
    assert [line[:20].split("  ")[0] for line in shown(one, 80)[6:9]] == ["pid 1", "pid 2", "pid 3"]
    assert "bot stopping" in shown(one, 80)[7]
    assert "bot silent" in shown(one, 80)[8]
    two = view(
        processes=(
            process(1, "a.example.org"),
            Process(proc="b.example.org:2", presence=Presence.INCOMPATIBLE, age_s=0.1),
            Process(proc="b.example.org:3", presence=Presence.GONE, age_s=12.0, roles=("bot", "jobs")),
        ),
        services=(),
    )
    assert shown(two, 80)[6].startswith("a:1      bot")
    assert shown(two, 80)[7].startswith("b:2      incompatible")
    assert "b:3" not in "\n".join(shown(two, 80))  # it is among the troubles


def shard(number: int, **more: object) -> ShardRow:
    plain = ShardRow(proc="alpha:4711", id=number, state="ready", latency_ms=40.0 + number, guilds=250)
    return replace(plain, **more)  # type: ignore[arg-type]


def test_many_shards_are_counted_and_lost_ones_named():
    shards = [shard(number) for number in range(16)]
    assert "shards    16/16 up to 55 ms" in shown(view(shards=tuple(shards)), 80)
    shards[3] = shard(3, state="disconnected", latency_ms=None)
    assert "shards    15/16 up to 55 ms  ! #3 disconnected" in shown(view(shards=tuple(shards)), 80)


def test_wide_screen_has_a_line_for_each_shard_and_lost_ones_first():
    close = {"last_close": "4000, Discord had an unknown error", "last_close_at": "2026-01-02T18:20:00.000Z"}
    lost = shard(3, state="resuming", latency_ms=None, last_event_at="2026-01-02T18:19:59.000Z", **close)
    rows = shown(view(shards=(*(shard(number) for number in (0, 1, 2)), lost)), 200)
    start = next(index for index, line in enumerate(rows) if line.startswith("shard "))
    assert [line.split()[:2] for line in rows[start + 1 : start + 5]] == [
        ["!", "#3"],
        *(["✓", f"#{n}"] for n in range(3)),
    ]
    cells = "! #3   pid 4711  resuming      -     250  18:19:59  18:20:00 4000, Discord had an unknown error"
    assert rows[start + 1].startswith(cells)
    many = shown(view(shards=tuple(shard(number) for number in range(16))), 200)
    assert any(line.startswith("… and 12 more shards") for line in many)


def test_screen_is_shown_without_any_data():
    text = "\n".join(shown(view(last=(), shards=(), jobs=(), totals=Totals()), 80, 24))
    assert "no commands yet" in text
    assert "p99 -" in text
    assert "shards" not in text


def test_waiting_screen_gives_the_reason():
    """And names the processes that were killed."""
    text = lines(render_waiting(None, "dice", "Redis does not answer.", (80, 24)), 80)
    assert text[0].startswith("dice")
    assert text[2:4] == ["Waiting for `botctl run` …", "Redis does not answer."]
    gone = view(**not_well("alpha:1 ended unexpectedly"))
    assert "! alpha:1 ended unexpectedly" in lines(render_waiting(gone, "dice", "", (80, 24)), 80)


@pytest.mark.parametrize("colour", [False, True])
def test_control_characters_and_markup_are_escaped(colour: bool):
    evil = "[red]\x1b]0;owned\x07\n\u202e"
    bad = view(
        bot=evil,
        processes=(process(1, evil, roles=(evil,)),),
        services=(ServiceRow(proc=f"{evil}:1", name=evil, state=evil, well=False, detail=evil, took_ms=1, restarts=0),),
        shards=(ShardRow(proc="x:1", id=0, state=evil, latency_ms=None),),
        jobs=(JobSnapshot(name=evil, schedule=evil, outcome=evil, last_run=evil),),
        last=(CommandSnapshot(name=evil, user=evil, result=evil, ms=1, at=evil),),
        **not_well(evil, action=evil),
    )
    for width in (80, 200):
        text = "\n".join(lines(render(bad, width, 40), width, colour=colour))
        assert not {"\x07", "\u202e"} & set(text)
        assert "\x1b]" not in text
        assert "[red]" in text


def test_output_without_colours_has_the_same_text():
    plain = shown(view(), 80, 24)
    assert "\x1b" not in "".join(plain)
    assert "\x1b[" in "".join(lines(render(view(), 80, 24), 80, colour=True))


@given(
    width=st.integers(30, 220),
    height=st.integers(8, 70),
    pids=st.lists(st.integers(1, 99999), max_size=12, unique=True),
    troubles=st.lists(st.text(max_size=300), max_size=9),
    user=st.text(max_size=60),
)
def test_screen_fits_any_terminal(width: int, height: int, pids: list[int], troubles: list[str], user: str):
    command = CommandSnapshot(name="roll", user=user, result="ok", ms=1e6, at="?")
    screen = render(view(*pids, **not_well(*troubles, action=user), last=(command,) * 50), width, height, live=True)
    rows = screen.split("\n", allow_blank=True)
    assert len(rows) <= height
    assert max(row.cell_len for row in rows) <= width
    assert WIDE_COLUMNS > 80
