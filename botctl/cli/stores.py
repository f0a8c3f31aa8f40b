"""``botctl stores``: where the stores are, and how they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from botctl.cli.options import AsJson, Profile, Project, load_settings

if TYPE_CHECKING:
    from rich.table import Table

    from botctl.stores.report import StoreReport


def stores(project: Project = None, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show where Redis and MongoDB are, and how they do; starts nothing.

    Exit code 7 when one that should answer does not.
    """
    import asyncio

    from botctl.core.errors import ExitCode
    from botctl.core.runtime import Runtime
    from botctl.stores.report import StoreState, report

    loaded = load_settings(project, profile)
    found = asyncio.run(report(loaded.settings, Runtime(loaded.root)))
    if as_json:
        import dataclasses
        import json

        print(json.dumps([dataclasses.asdict(store) for store in found]))
    else:
        from rich.console import Console

        Console(highlight=False).print(_table(found))
    if any(store.state is StoreState.DOWN for store in found):
        raise typer.Exit(ExitCode.UNREACHABLE)


def _table(found: tuple[StoreReport, ...]) -> Table:
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("store", "state", "where", "version", "answers in", "on disk", "run by"):
        table.add_column(column, overflow="fold")
    colours = {"up": "green", "down": "red", "idle": "yellow"}
    for store in found:
        words = [
            f"[{colours[store.state]}]{store.state}[/]",
            escape(store.address) + (" [dim](embedded)[/]" if store.embedded else ""),
            escape(store.version or store.detail or "not running; starts when needed"),
            "" if store.latency_ms is None else f"{store.latency_ms:.1f} ms",
            "" if store.size_bytes is None else decimal(store.size_bytes),
            "" if store.owner_pid is None else f"pid {store.owner_pid}",
        ]
        table.add_row(store.name, *words)
    return table
