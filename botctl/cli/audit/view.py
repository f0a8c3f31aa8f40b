"""Prints entries of the audit log: one line each, under a heading for each day."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from botctl.audit.log import Document, EntryBatch, entry_of
from botctl.cli.json_output import print_json
from botctl.core.escape import safe

_MARKS: Final = {
    "begin": ("…", "dim"),
    "success": ("✓", "green"),
    "denied": ("-", "yellow"),
    "error": ("✗", "red"),
    "unknown": ("?", "red"),
}
_WIDE_COLUMNS: Final = 120


class LogView:
    """Prints entries: in columns on a terminal, else in lines that `cut` and `grep` can read.

    ``hint``: what people are told if there is no entry.
    """

    def __init__(self, *, as_json: bool, console: Console | None = None, hint: str = "") -> None:
        self._hint = f" {hint}" if hint else ""
        self._as_json = as_json
        self._console = console or Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self._day = ""
        self._waiting_for = ""
        self._has_followed = False

    def print_entries(self, documents: Sequence[Document], limit: int) -> None:
        entries = list(map(entry_of, documents))
        if self._as_json:
            print_json(entries)
            return
        self._show(entries)
        if not entries:
            _print_to_stderr(f"No entry fits these options.{self._hint}")
        elif len(entries) == limit:
            _print_to_stderr(f"The limit of {limit} is reached; --limit N shows more.")

    def print_batch(self, batch: EntryBatch) -> None:
        """Print the entries that were read, and on stderr what the follower waits for, once."""
        if batch.waiting_for and batch.waiting_for != self._waiting_for:
            if self._as_json:
                print_json({"waiting_for": batch.waiting_for}, stderr=True)
            else:
                _print_to_stderr(batch.waiting_for)
        self._waiting_for = batch.waiting_for
        entries = list(map(entry_of, batch.documents))
        if self._as_json:
            for entry in entries:
                print_json(entry)
        else:
            self._show(entries)
            if not (self._has_followed or entries or batch.waiting_for):
                _print_to_stderr(f"No entry fits these options yet.{self._hint} Waiting for new ones; Ctrl-C ends.")
        self._has_followed |= not batch.waiting_for
        sys.stdout.flush()

    def _show(self, entries: Sequence[Mapping[str, Any]]) -> None:
        if self._console.is_terminal:
            for block in self._columns(entries):
                self._console.print(block)
        else:
            for entry in entries:
                print(
                    "  ".join(
                        (safe(entry["at"]), _outcome(entry), actor_name(entry), safe(entry["action"]), describe(entry))
                    )
                )

    def _columns(self, entries: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
        table = self._table()
        for entry in entries:
            day, _, time = safe(entry["at"]).partition("T")
            if day != self._day:
                if table.row_count:
                    yield table
                yield Text(f"{day} UTC", "dim")
                self._day, table = day, self._table()
            mark, style = _MARKS.get(_outcome(entry), ("?", "red"))
            row = (
                Text(time[:8], "dim"),
                Text(mark, style),
                Text(actor_name(entry)),
                Text(safe(entry["action"]), "bold"),
            )
            table.add_row(*row, Text(describe(entry), "" if mark == "✓" else style))
        if table.row_count:
            yield table

    def _table(self) -> Table:
        wide = self._console.width >= _WIDE_COLUMNS
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=8, no_wrap=True)
        table.add_column(width=1, no_wrap=True)
        table.add_column(width=24 if wide else 12, no_wrap=True, overflow="ellipsis")
        table.add_column(width=36 if wide else 22, overflow="fold")
        table.add_column(ratio=1, overflow="fold")
        return table


def actor_name(entry: Mapping[str, Any]) -> str:
    """The actor: a user as ``@name``, others with their type. So no user can look like another kind of actor."""
    actor = entry["actor"]
    name = safe(actor.get("name") or actor.get("id", "?"), 60)
    kind = actor.get("type", "user")
    return f"@{name}" if kind == "user" else safe(kind) if kind == "system" else f"{safe(kind)}:{name}"


def describe(entry: Mapping[str, Any]) -> str:
    """The outcome, the target and the changes in a few words; unknown parts are left out."""
    outcome = _outcome(entry)
    reason = safe(entry.get("reason") or "")
    target = _format_target(entry.get("target"))
    is_channel = target.startswith("#")  # the place of the action stands at the end
    parts = [
        "" if is_channel else target,
        reason if outcome in ("success", "begin") else ": ".join(filter(None, (outcome, reason))),
        *(_format_change(change) for change in _changes(entry)),
        f"error id {safe(entry['error'])}" if entry.get("error") else "",
        target if is_channel else "",
        _format_authority(entry["actor"].get("auth")),
        f"{entry['ms']} ms" if isinstance(entry.get("ms"), int) else "",
        f"the stored entry {safe(entry.get('id', '?'), 80)} cannot be read" if entry.get("unreadable") else "",
    ]
    return " · ".join(filter(None, parts))


def _format_authority(auth: object) -> str:
    """``sudo:ann`` as words."""
    method, _, person = safe(auth or "", 100).partition(":")
    return f"through {method} by {person}" if person else ""


def _outcome(entry: Mapping[str, Any]) -> str:
    return "begin" if entry.get("stage") == "begin" else safe(entry.get("outcome", "unknown"))


def _changes(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The changes of ``entry``; a single one, named ``changes``, if they were too long to be stored."""
    changes = entry.get("changes")
    if isinstance(changes, list):
        return [change for change in changes if isinstance(change, dict)]
    return [{"k": "changes", "new": changes}] if changes else []


def _format_change(change: Mapping[str, Any]) -> str:
    key, old, new = safe(change.get("k", "?"), 60), change.get("old"), change.get("new")
    if key == "times":
        return f"{safe(new)} time{'' if new == 1 else 's'}"
    return f"{key}: {_format_value(new)}" if old is None else f"{key}: {_format_value(old)} → {_format_value(new)}"


def _format_value(value: object) -> str:
    match value:
        case None | [] | "":
            return "none"
        case list():
            return safe(", ".join(map(str, value)), 100)
        case {"cut": beginning}:
            return safe(f"{beginning}…", 100)
        case _:
            return safe(value, 100)


def _format_target(target: object) -> str:
    if not isinstance(target, dict):
        return ""
    kind, name = safe(target.get("type", "")), safe(target.get("name") or target.get("id", ""), 100)
    return f"#{name}" if kind == "channel" else f"{kind} {name}"


def _print_to_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
