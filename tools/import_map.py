"""Write the diagram of packages in docs/architecture.md from the imports: `python tools/import_map.py`.

An arrow means that modules of one package import modules of another. Arrows that follow from others are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- tools/import_map.py writes from here -->", "<!-- to here -->"
DIVIDED = ("sandbox", "core")  # their subpackages are shown, too

Graph = dict[str, set[str]]


def package_of(module: str) -> str:
    """The package of a module: ``bot`` of ``botctl.bot.client``, ``core/config`` of ``botctl.core.config.settings``."""
    parts = module.split(".")[1:]
    if parts and parts[0] in DIVIDED:
        inner = parts[1] if len(parts) > 1 else ""
        path = ROOT / "botctl" / parts[0] / inner
        return f"{parts[0]}/{inner}" if inner and path.is_dir() else f"{parts[0]}/{inner if inner == 'server' else '.'}"
    return parts[0] if parts and (ROOT / "botctl" / parts[0]).is_dir() else ""


def build_graph() -> Graph:
    """Each package, and the packages that it imports from."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "botctl").rglob("*.py")
    }
    graph: Graph = {}
    for name, path in modules.items():
        own = package_of(name)
        if own:
            found = {package_of(target) for target in _imported(path, modules)} - {own, ""}
            graph.setdefault(own, set()).update(found)
    return graph


def _imported(path: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("botctl."):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)


def reduce_graph(graph: Graph) -> Graph:
    """``graph`` without the arrows that follow from others. Raises CycleError for a circle of packages."""
    below: Graph = {}
    for package in TopologicalSorter(graph).static_order():
        near = graph.get(package, set())
        below[package] = near.union(*(below[other] for other in near))
    return {
        package: {other for other in near if not any(other in below[third] for third in near if third != other)}
        for package, near in graph.items()
    }


def render_mermaid(graph: Graph) -> str:
    lines = ["```mermaid", "flowchart TD"]
    for package in DIVIDED:
        inner = sorted(name for name in graph if name.startswith(f"{package}/"))
        lines += [f"    subgraph {package}", *(f"        {_node(name)}" for name in inner), "    end"]
    lines += [f"    {_node(name)} --> {_node(other)}" for name in sorted(graph) for other in sorted(graph[name])]
    return "\n".join([*lines, "```"])


def _node(name: str) -> str:
    label = name.partition("/")[2] or name
    return f'{name.replace("/", "_").replace(".", "base")}["{"errors, clock, ids, …" if name == "core/." else label}"]'


def render_page() -> str:
    """The page with the current diagram."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{render_mermaid(reduce_graph(build_graph()))}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
