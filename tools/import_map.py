"""Write the picture of the rooms in docs/architecture.md, from the imports as they are: `python tools/import_map.py`.

An arrow says that modules of one room import modules of another. An arrow that follows from others is left out.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tools/import_map.py writes from here -->", "<!-- to here -->"
DIVIDED = ("sandbox", "core")  # packages whose own rooms are shown
GROUND = "errors, clock, ids, …"  # the modules of core that are in no room

Graph = dict[str, set[str]]
Import = tuple[str, str]  # a module, and one that it imports


def imports() -> Iterator[Import]:
    """Every import of one module of botctl by another, those in functions and for type checking too."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "botctl").rglob("*.py")
    }
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("botctl."):
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield name, inner if inner in modules else str(node.module)


def package(module: str) -> str:
    """``bot`` of ``botctl.bot.client``; nothing for `botctl` itself."""
    return "".join(part for part in module.split(".")[1:2] if (ROOT / "botctl" / part).is_dir())


def room_in(divided: str) -> Callable[[str], str]:
    """What says the room of a module within a package: ``config`` of ``botctl.core.config.settings``."""

    def room(module: str) -> str:
        parts = module.split(".")
        if len(parts) < 3 or parts[1] != divided:  # noqa: PLR2004
            return ""
        return parts[2] if divided != "core" or (ROOT / "botctl" / divided / parts[2]).is_dir() else GROUND

    return room


def graph_of(found: list[Import], room: Callable[[str], str]) -> Graph:
    """Each room and those that it imports from."""
    graph: Graph = {}
    for module, imported in found:
        own, other = room(module), room(imported)
        if own:
            graph.setdefault(own, set()).update({other} - {own, ""})
    return graph


def reduced(graph: Graph) -> Graph:
    """``graph`` without the arrows that follow from others. Raises CycleError for rooms in a circle."""
    below: Graph = {}
    for room in TopologicalSorter(graph).static_order():
        near = graph.get(room, set())
        below[room] = near.union(*(below[other] for other in near))
    return {
        room: {other for other in near if not any(other in below[third] for third in near if third != other)}
        for room, near in graph.items()
    }


def mermaid() -> str:
    """The picture, as Mermaid: packages, and inside the divided ones their rooms."""
    found = list(imports())
    lines = ["```mermaid", "flowchart TD", *_arrows(reduced(graph_of(found, package)), "")]
    for divided in DIVIDED:
        inner = reduced(graph_of(found, room_in(divided)))
        names = sorted({*inner, *(other for near in inner.values() for other in near)})
        lines += [f"    subgraph {divided}", *(f'        {_id(divided, name)}["{name}"]' for name in names)]
        lines += [f"    {line}" for line in _arrows(inner, divided)] + ["    end"]
    return "\n".join([*lines, "```"])


def _arrows(graph: Graph, divided: str) -> Iterator[str]:
    """One line for all rooms that have the same arrows."""
    sources: dict[tuple[str, ...], list[str]] = {}
    for room in sorted(graph):
        sources.setdefault(tuple(sorted(graph[room])), []).append(_id(divided, room))
    for targets, rooms in sources.items():
        if targets:
            yield f"    {' & '.join(rooms)} --> {' & '.join(_id(divided, one) for one in targets)}"


def _id(divided: str, room: str) -> str:
    name = "ground" if room == GROUND else room.strip("_")
    return f"{divided}_{name}" if divided else name


def page(text: str) -> str:
    """``text`` with today's picture between the marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{mermaid()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
