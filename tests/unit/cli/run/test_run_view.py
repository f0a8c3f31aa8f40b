"""The banner of `botctl run` on terminals of different sizes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from botctl.cli.run.view import Banner, Progress, fit_banner
from botctl.core.contracts.events import ServiceChanged
from botctl.core.contracts.service_state import ServiceState, ServiceStatus

FACTS = [(label, "http://127.0.0.1:50381  (embedded)") for label in ("project", "discord", "redis", "mongodb", "logs")]
NOTE = ("", "Embedded parts serve this machine only; redis.url, mongo.url and discord.token name real servers.")
SUGGESTIONS = [
    ('botctl sandbox send "/ping"', "send a command"),
    ("botctl stores", "show where the data is"),
]
BANNER = Banner("botctl runs example", [*FACTS, NOTE], SUGGESTIONS)
SERVICES = [ServiceStatus(f"service-{number}", ServiceState.READY, 0.1, "", 0) for number in range(23)]


def printed(banner: Banner, statuses: list[ServiceStatus], *, height: int) -> str:
    out = io.StringIO()
    console = Console(file=out, width=80, height=height, force_terminal=True, color_system=None)
    console.print(fit_banner(console, banner, statuses), crop=False)
    return out.getvalue()


def test_banner_fits_a_terminal_of_24_lines() -> None:
    text = printed(BANNER, SERVICES, height=24)
    assert text.count("\n") < 24
    assert "✓ 23 services" in text
    assert "service-1" not in text


def test_high_terminal_shows_every_service() -> None:
    text = printed(BANNER, SERVICES, height=50)
    assert all(status.name in text for status in SERVICES)


def test_service_that_is_not_ready_is_always_shown() -> None:
    degraded = replace(SERVICES[0], name="relay", state=ServiceState.DEGRADED, detail="redis does not answer")
    text = printed(BANNER, [*SERVICES, degraded], height=24)
    assert text.count("\n") < 24
    assert "✓ 23 services" in text
    assert "! relay         redis does not answer" in text


@pytest.mark.parametrize("height", [24, 50])
def test_long_command_is_not_cut(height: int) -> None:
    """A person copies it."""
    command = f"'/{'My folder/' * 12}.venv/bin/botctl' sandbox"
    text = printed(replace(BANNER, suggestions=[(command, "open a prompt")]), SERVICES, height=height)
    assert f"  {command}  open a prompt\n" in text


def test_name_and_detail_do_not_touch_and_details_are_aligned() -> None:
    long = replace(SERVICES[0], name="sessions of the gateway")
    lines = [line for line in printed(BANNER, [*SERVICES, long], height=50).splitlines() if "✓" in line]
    assert "  ✓ sessions of the gateway  0.10 s" in [line.rstrip() for line in lines]
    assert len({line.index("0.10 s") for line in lines}) == 1
    out = io.StringIO()
    progress = Progress(Console(file=out, width=80), ["bot", long.name])
    for name in ("bot", long.name):
        progress.update(ServiceChanged(service=name, old="idle", new="ready", detail="", took_s=0))
    assert len({line.index("0.00 s") for line in out.getvalue().splitlines()}) == 1


def test_same_state_again_is_printed_once() -> None:
    """A task that ends again and again makes its service restarting and degraded in turn."""
    out = io.StringIO()
    progress = Progress(Console(file=out, width=80), ["bot"])
    for state in ("ready", "restarting", "degraded", "restarting", "degraded", "ready", "restarting", "degraded"):
        detail = "it was started again" if state == "degraded" else ""
        progress.update(ServiceChanged(service="bot", old="ready", new=state, detail=detail, took_s=0))
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["✓", "!", "✓", "!"]
