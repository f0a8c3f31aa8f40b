"""Write docs/sandbox-routes.md: every route of the sandbox, from its table."""

from __future__ import annotations

import sys
from pathlib import Path

from botctl.sandbox.rest import register_all, routing  # noqa: F401 - fills the table of routes

PAGE = Path(__file__).parent.parent / "docs" / "sandbox-routes.md"
HEAD = """# Routes of the sandbox

{count} routes of Discord's REST API v10, under `/api/v10` of the [sandbox](sandbox.md). Any other request is
answered with `404: Not Found`, and named in the sandbox's log. All need the bot's token but those marked so.

Every answer is held to Discord's own OpenAPI description: in the tests, and in a running sandbox that is told where
it is ([self-check](sandbox.md#self-check)). This page is made by `python -m tools.routes_page`.
"""
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def page() -> str:
    """The whole page; sections are the first parts of the paths."""
    lines = [HEAD.format(count=len(routing.ROUTES))]
    section = ""
    for one in sorted(routing.ROUTES, key=lambda one: (_literal_first(one.path), _METHODS.index(one.method))):
        if one.path.split("/")[1] != section:
            section = one.path.split("/")[1]
            lines.append(f"{_gap(lines)}## {section}\n\n| Method | Path | What it does |\n|---|---|---|")
        lines.append(f"| {one.method} | `{one.path}` | {_what(one)} |")
    return "\n".join(lines) + "\n"


def _gap(lines: list[str]) -> str:
    return "" if len(lines) == 1 else "\n"


def _literal_first(path: str) -> list[str]:
    return path.replace("{", "~").split("/")


def _what(one: routing.Route) -> str:
    name = one.function.__name__.replace("_", " ")
    said = (one.function.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ").replace("``", "`")
    return f"{name}{_token(one)}: {said}" if said else name + _token(one)


def _token(one: routing.Route) -> str:
    if one.scope is None:
        return "" if one.token else " (needs no token)"
    scope = f" with the scope `{one.scope}`" if one.scope else ""
    return f" ({'or' if one.token else 'needs'} a person's token{scope})"


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {len(routing.ROUTES)} routes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
