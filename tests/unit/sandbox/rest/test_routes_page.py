"""docs/sandbox-routes.md matches the table of routes."""

from __future__ import annotations

from botctl.sandbox.rest import routing
from tools.routes_page import PAGE, render_page


def test_page_is_up_to_date() -> None:
    """Run `python -m tools.routes_page` when this fails."""
    assert PAGE.read_text(encoding="utf-8") == render_page()


def test_routes_are_unique_and_at_least_sixty() -> None:
    assert len(routing.ROUTES) >= 60
    assert len({(route.method, route.path) for route in routing.ROUTES}) == len(routing.ROUTES)
