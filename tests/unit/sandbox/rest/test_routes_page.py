"""docs/sandbox-routes.md lists the routes that there are."""

from __future__ import annotations

from botctl.sandbox.rest import routing
from tools.routes_page import PAGE, render_page


def test_the_page_is_current() -> None:
    """Run `python -m tools.routes_page` when this fails."""
    assert PAGE.read_text(encoding="utf-8") == render_page()


def test_there_is_what_a_bot_without_voice_uses() -> None:
    assert len(routing.ROUTES) >= 60
    assert len({(one.method, one.path) for one in routing.ROUTES}) == len(routing.ROUTES)
