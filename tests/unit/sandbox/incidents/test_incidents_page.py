"""The page of incidents is what the catalogue says."""

from __future__ import annotations

from tools.incidents_page import PAGE, render_page


def test_the_page_is_current() -> None:
    """If not: python tools/incidents_page.py"""
    assert PAGE.read_text(encoding="utf-8") == render_page()
