"""Write the table of start-up times into docs/gateway.md. It simulates the gate in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from botctl.core.contracts.logins import SPACING_S
from botctl.logins.restart_plan import login_times_s

PAGE: Final = Path(__file__).parent.parent / "docs" / "gateway.md"
BEGIN: Final = "<!-- tools/login_times_page.py writes from here -->\n"
END: Final = "<!-- to here -->"
SHARDS: Final = (1, 2, 4, 16, 64, 250, 1000, 2000)
AT_ONCE: Final = (1, 16, 64)
_MINUTE_S, _HOUR_S = 60, 3600


def render_page(text: str) -> str:
    """``text`` of the page with the current table."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}{_render_table()}{END}{rest.partition(END)[2]}"


def _render_table() -> str:
    head = " | ".join(f"`max_concurrency` {at_once}" for at_once in AT_ONCE)
    lines = [f"| shards | {head} |", f"|---:|{'---:|' * len(AT_ONCE)}"]
    for shards in SHARDS:
        times = (max(login_times_s(range(shards), at_once)) for at_once in AT_ONCE)
        lines.append(f"| {shards:,} | {' | '.join(map(_describe, times))} |")
    return "\n".join(lines) + f"\n\nTwo logins of one key are {SPACING_S:g} s apart.\n"


def _describe(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds:g} s"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min {seconds % _MINUTE_S:.0f} s"
    return f"{seconds // _HOUR_S:.0f} h {seconds % _HOUR_S // _MINUTE_S:.0f} min"


if __name__ == "__main__":
    PAGE.write_text(render_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
