"""Write the table of permissions in docs/security.md, between its marks, from core/contracts/permissions.py."""

from __future__ import annotations

import re
from pathlib import Path

from botctl.core.contracts.permissions import BUILT_IN_ROLES, PERMISSIONS, any_covers

PAGE = Path(__file__).parent.parent / "docs" / "security.md"
BEGIN = "<!-- permissions: written by `python tools/security_page.py` -->"
END = "<!-- /permissions -->"


def render_table() -> str:
    """A row for each permission, with the built-in roles that carry it."""
    head = f"| Permission | It allows to | {' | '.join(BUILT_IN_ROLES)} |\n|---|---|{'---|' * len(BUILT_IN_ROLES)}\n"
    return head + "".join(_render_row(permission, text) for permission, text in PERMISSIONS.items())


def _render_row(permission: str, text: str) -> str:
    marks = " | ".join("✓" if any_covers(patterns, permission) else "" for patterns in BUILT_IN_ROLES.values())
    return f"| `{permission}` | {text[0].lower()}{text[1:].rstrip('.')} | {marks} |\n"


def with_table(page: str) -> str:
    """``page`` with the current table between its marks."""
    between = re.compile(f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", re.DOTALL)
    return between.sub(lambda _: render_table(), page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
