"""Write the picture of the rooms in docs/architecture.md, from the imports as they are: `python tools/import_map.py`.

An arrow says that modules of one room import modules of another. Arrows that follow from others are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tools/import_map.py writes from here -->", "<!-- to here -->"
DIVIDED = ("sandbox", "core")  # packages whose own rooms are shown

Graph = dict[str, set[str]]


def room(module: str) -> str:
    """The room of a module: ``bot`` of ``botctl.bot.client``, ``core/config`` of ``botctl.core.config.settings``."""
    parts = module.split(".")[1:]
    if parts and parts[0] in DIVIDED:
        inner = parts[1] if len(parts) > 1 else ""
        path = ROOT / "botctl" / parts[0] / inner
        return f"{parts[0]}/{inner}" if inner and path.is_dir() else f"{parts[0]}/{inner if inner == 'server' else '.'}"
    return parts[0] if parts and (ROOT / "botctl" / parts[0]).is_dir() else ""


def rooms() -> Graph:
    """Each room and those that it imports from."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "botctl").rglob("*.py")
    }
    graph: Graph = {}
    for name, path in modules.items():
        own = room(name)
        if own:
            found = {room(one) for one in _imported(path, modules)} - {own, ""}
            graph.setdefault(own, set()).update(found)
    return graph


def _imported(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("botctl."):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)


def reduced(graph: Graph) -> Graph:
    """``graph`` without the arrows that follow from others. Raises CycleError for rooms in a circle."""
    below: Graph = {}
    for one in TopologicalSorter(graph).static_order():
        near = graph.get(one, set())
        below[one] = near.union(*(below[other] for other in near))
    return {
        one: {other for other in near if not any(other in below[third] for third in near if third != other)}
        for one, near in graph.items()
    }


def mermaid(graph: Graph) -> str:
    """The picture, as Mermaid."""
    lines = ["```mermaid", "flowchart TD"]
    for package in DIVIDED:
        inner = sorted(one for one in graph if one.startswith(f"{package}/"))
        lines += [f"    subgraph {package}", *(f"        {_node(one)}" for one in inner), "    end"]
    lines += [f"    {_node(one)} --> {_node(other)}" for one in sorted(graph) for other in sorted(graph[one])]
    return "\n".join([*lines, "```"])


def _node(one: str) -> str:
    label = one.partition("/")[2] or one
    return f'{one.replace("/", "_").replace(".", "base")}["{"errors, clock, ids, …" if one == "core/." else label}"]'


def page() -> str:
    """The page with today's picture."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{mermaid(reduced(rooms()))}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
