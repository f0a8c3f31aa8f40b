"""Write docs/sandbox-incidents.md from the catalogue: ``python tools/incidents_page.py``."""

from __future__ import annotations

from pathlib import Path

from botctl.sandbox.incidents import catalogue, register_all  # noqa: F401 - fills the catalogue
from botctl.sandbox.incidents.catalogue import Incident

PAGE = Path(__file__).parent.parent / "docs" / "sandbox-incidents.md"
_HEAD = """# Incidents

The sandbox can simulate these failures of Discord. For each, this page says what it does, and names a source for it.
`tests/system/test_sandbox_incidents.py` tests each with a plain disnake bot. `python tools/incidents_page.py` writes
this page.

```console
$ botctl sandbox incident latency --for 2m --set delay_s=0.05
latency has begun for 120 s: delay_s=0.05, jitter_s=0.5
$ botctl sandbox incident --stop latency
latency has ended.
```

`botctl sandbox incident` without arguments lists all incidents, and those that are active. With `--for`, an incident
ends by itself; else it lasts until `--stop`, or until it has nothing left to do. Times refer to the sandbox's clock,
which a test can move.

In a test, use `async with discord.incident("op7-storm", every_s=0.5): …` (see [testing](testing.md)). Over HTTP, use
`POST /_control/incidents` with `{"name", "for_s", "settings"}`, `{"stop": name}` or `{"scenario": text}`.

## Scenarios

A scenario is a TOML file of incidents with their times. `botctl sandbox incident --scenario FILE` runs it:

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

## All incidents

Two failures are [limits](sandbox-limits.md) and not incidents, because a bot causes them itself: the 1015 ban after
10,000 invalid requests, and the token reset after 1,000 IDENTIFYs a day.
"""


def render_page() -> str:
    return _HEAD + "".join(
        f"\n{_section(incident)}"
        for incident in sorted(catalogue.INCIDENTS.values(), key=lambda incident: incident.name)
    )


def _section(incident: Incident) -> str:
    settings = ", ".join(f"`{name}` ({_shown(default)})" for name, default in incident.settings.items()) or "none"
    text = incident.what.replace("``", "`")
    return f"### {incident.name}\n\n{text}\n\nSettings: {settings}. Source: {incident.source}.\n"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "the first, or all" if default == "" else f"{default}"


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
