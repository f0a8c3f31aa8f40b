"""Prints migrations and their progress, as text or JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Self

import typer
from rich.console import Console
from rich.text import Text

from botctl.cli.json_output import print_json
from botctl.core.clock import iso_ms
from botctl.core.escape import safe
from botctl.migrate.files import Migration
from botctl.migrate.plan import Direction, MigrationRow, MigrationStatus, Record
from botctl.migrate.session import ProgressListener

_STYLES = {MigrationStatus.APPLIED: "green", MigrationStatus.PENDING: "yellow", MigrationStatus.RUNNING: "yellow"}
_PARTICIPLES = {Direction.UP: "applied", Direction.DOWN: "reverted"}


class ProgressView(ProgressListener):
    """Prints each migration when it is done. With ``as_json``, prints all at the end, if nothing was raised."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._done: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        stopped = kind is not None and issubclass(kind, typer.Exit)  # by a signal; some may be done
        if self._as_json and (kind is None or stopped):
            print_json({"done": self._done, "stopped": stopped})
        elif kind is None and not self._done:
            print("Nothing to do.")

    def waiting(self, sentence: str) -> None:
        if not self._as_json:
            print(sentence, file=sys.stderr, flush=True)

    def started(self, file: Migration, direction: Direction) -> None:
        if sys.stderr.isatty() and not self._as_json:
            print(f"… {file.name} ({direction})", file=sys.stderr, flush=True)

    def finished(self, file: Migration, direction: Direction, took_ms: int) -> None:
        self._done.append({"name": file.name, "direction": direction.value, "took_ms": took_ms})
        if not self._as_json:
            print(f"✓ {file.name} {_PARTICIPLES[direction]} in {took_ms} ms", flush=True)

    def stopping_after(self, file: Migration) -> None:
        if not self._as_json:
            print(
                f"Waiting until {file.name} has finished; a second Ctrl-C interrupts it.", file=sys.stderr, flush=True
            )


def print_rows(rows: Sequence[MigrationRow], *, as_json: bool) -> None:
    if as_json:
        print_json([_row_as_json(row) for row in rows])
        return
    console = Console(highlight=False)
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        line = Text(f"{row.name:<{width}}  ").append(f"{row.status:<8}", _STYLES.get(row.status, "red"))
        line.append(f"  {_describe_record(row.record):<27}", "dim").append(
            f"  {safe(row.file.title) if row.file else ''}"
        )
        line.rstrip()
        if console.is_terminal:
            line.truncate(console.width, overflow="ellipsis")
        console.print(line, soft_wrap=True)
    if not rows:
        console.print("There are no migrations. Create one with `botctl migrate create NAME`.")


def print_plan(files: Sequence[Migration], *, as_json: bool) -> None:
    if as_json:
        print_json([{"name": file.name, "title": file.title, "reversible": file.reversible} for file in files])
        return
    for file in files:
        print(f"would apply {file.name}  {safe(file.title)}".rstrip())
    if not files:
        print("Nothing to do.")


def _describe_record(record: Record | None) -> str:
    if record is None:
        return ""
    took = "" if record.took_ms is None else f", {record.took_ms} ms"
    return f"{record.started:%Y-%m-%d %H:%M:%S}{took}"


def _row_as_json(row: MigrationRow) -> dict[str, Any]:
    file, record = row.file, row.record
    return {
        "name": row.name,
        "n": row.n,
        "standing": row.status.value,
        "title": file.title if file else None,
        "reversible": file.reversible if file else None,
        "checksum": file.checksum if file else None,
        "ledger": _record_as_json(record) if record else None,
    }


def _record_as_json(record: Record) -> dict[str, Any]:
    by = record.by
    return {
        "state": record.state.value,
        "direction": record.direction.value,
        "checksum": record.checksum,
        "started": iso_ms(record.started),
        "ended": record.ended and iso_ms(record.ended),
        "took_ms": record.took_ms,
        "by": {"host": by.host, "pid": by.pid, "version": by.version, "fence": by.fence},
        "error": record.error,
    }
