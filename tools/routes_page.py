"""Write docs/sandbox-routes.md from the sandbox's table of routes: `python -m tools.routes_page`."""

from __future__ import annotations

import sys
from pathlib import Path

from botctl.sandbox.rest import register_all, routing  # noqa: F401 - fills the table of routes

PAGE = Path(__file__).parent.parent / "docs" / "sandbox-routes.md"
HEAD = """# Routes of the sandbox

The [sandbox](sandbox.md) has {count} routes of Discord's REST API v10, under `/api/v10`. It answers any other request
with `404: Not Found`, and logs it. A route needs the bot's token, unless its row says something else.

The tests check every response against Discord's OpenAPI description. A running sandbox can do that, too
([self-check](sandbox.md#self-check)). `python -m tools.routes_page` writes this page.
"""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def render_page() -> str:
    """The whole page, with a section for each first part of a path."""
    lines = [HEAD.format(count=len(routing.ROUTES))]
    section = ""
    for route in sorted(routing.ROUTES, key=lambda route: (_literal_first(route.path), _METHODS.index(route.method))):
        if route.path.split("/")[1] != section:
            section = route.path.split("/")[1]
            lines.append(f"{_gap(lines)}## {section}\n\n| Method | Path | What it does |\n|---|---|---|")
        lines.append(f"| {route.method} | `{route.path}` | {_what(route)} |")
    return "\n".join(lines) + "\n"


def _gap(lines: list[str]) -> str:
    return "" if len(lines) == 1 else "\n"


def _literal_first(path: str) -> list[str]:
    return path.replace("{", "~").split("/")


def _what(route: routing.Route) -> str:
    name = route.function.__name__.replace("_", " ")
    summary = (route.function.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ").replace("``", "`")
    return f"{name}{_token(route)}: {summary}" if summary else name + _token(route)


def _token(route: routing.Route) -> str:
    if route.scope is None:
        return "" if route.token else " (needs no token)"
    scope = f" with the scope `{route.scope}`" if route.scope else ""
    return f" ({'or' if route.token else 'needs'} a person's token{scope})"


def main() -> int:
    PAGE.write_text(render_page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(routing.ROUTES)} routes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
