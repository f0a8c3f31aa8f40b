"""docs/sandbox-incidents.md from the catalogue: ``python tools/incidents_page.py`` writes it."""

from __future__ import annotations

from pathlib import Path

from botctl.sandbox.incidents import catalogue, register_all  # noqa: F401 - fills the catalogue
from botctl.sandbox.incidents.catalogue import Incident

PAGE = Path(__file__).parent.parent / "docs" / "sandbox-incidents.md"
_HEAD = """# Incidents

Discord's bad days, made on purpose: what each does, and where it is known from that Discord does it. A bare disnake
bot meets each of them in `tests/system/test_sandbox_incidents.py`. (Made by `python tools/incidents_page.py`.)

```console
$ botctl sandbox incident latency --for 2m --set delay_s=0.05
latency has begun for 120 s: delay_s=0.05, jitter_s=0.5
$ botctl sandbox incident --stop latency
latency has ended.
```

`botctl sandbox incident` alone lists them, and what goes on. `--for` ends one by itself; else it goes on until
`--stop`, or until it has nothing left to do. Times are of the sandbox's clock, which a test can move.

In a test: `async with discord.incident("op7-storm", every_s=0.5): …` (see [testing](testing.md)); over HTTP: `POST
/_control/incidents` with `{"name", "for_s", "settings"}`, `{"stop": name}` or `{"scenario": text}`.

## Scenarios

A TOML file of incidents with their times, played by `botctl sandbox incident --scenario FILE`:

```toml
[[incident]]
name = "latency"
for_s = 60
delay_s = 0.3

[[incident]]
name = "op7-storm"
at_s = 10           # after the scenario began
for_s = 20
every_s = 2         # any other key is a setting of the incident

[[incident]]
name = "guild-outage"
at_s = 30
for_s = 15
```

## What there is

Two things of the kind are limits and no incidents, because a bot brings them about by itself: the 1015 ban after
10,000 invalid requests, and the token reset after 1,000 IDENTIFYs a day ([limits](sandbox-limits.md)).
"""


def as_page() -> str:
    """The whole page."""
    return _HEAD + "".join(
        f"\n{_section(one)}" for one in sorted(catalogue.INCIDENTS.values(), key=lambda one: one.name)
    )


def _section(one: Incident) -> str:
    settings = ", ".join(f"`{name}` ({_shown(default)})" for name, default in one.settings.items()) or "none"
    return f"### {one.name}\n\n{one.description.replace('``', '`')}\n\nSettings: {settings}. Source: {one.source}.\n"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "the first, or all" if default == "" else f"{default}"


if __name__ == "__main__":
    PAGE.write_text(as_page(), encoding="utf-8")
