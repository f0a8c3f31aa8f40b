"""docs/gateway.md has the current table of start-up times."""

from __future__ import annotations

from tools.login_times_page import PAGE, render_page


def test_table_is_current() -> None:
    """Run `python -m tools.login_times_page` when this fails."""
    text = PAGE.read_text(encoding="utf-8")
    assert render_page(text) == text
    assert "| 2,000 | 3 h 3 min | 11 min 22 s | 2 min 50 s |" in text
