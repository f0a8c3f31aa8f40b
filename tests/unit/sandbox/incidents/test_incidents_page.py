"""docs/sandbox-incidents.md matches the catalogue."""

from __future__ import annotations

from tools.incidents_page import PAGE, render_page


def test_page_is_up_to_date() -> None:
    """Run `python tools/incidents_page.py` when this fails."""
    assert PAGE.read_text(encoding="utf-8") == render_page()
