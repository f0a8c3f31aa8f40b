"""Where the botctl that runs here came from, as a line of a requirements.txt.

pip and uv record it beside an installed package: ``direct_url.json`` (PEP 610). Without that file the package is from
an index. A checkout that runs is its own origin, installed or not.
"""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

_HEADING: Final = "# botctl, from where `botctl init` found it."
_URL_CHARACTERS: Final = "%/:@!$&'()*+,;=~?#[]"
_THIS_MACHINE: Final = "{heading} This path is of one machine: for others, name a place that they reach.\n"


def requirements(package: Path, version: str) -> str:
    """The text of a requirements.txt that installs the botctl whose Python package is the folder ``package``."""
    line = requirement(package, version, _read_direct_url())
    heading = _THIS_MACHINE.format(heading=_HEADING) if "file:///" in line else ""
    return f"{heading}{line}\n"


def requirement(package: Path, version: str, direct_url: dict[str, Any] | None) -> str:
    """The requirement for botctl, from its version and its ``direct_url.json`` (None: it has none).

    A ``package`` in a checkout is required from there, whatever is installed; it is editable if the record says so.
    """
    if _is_checkout(package.parent):
        editable = (direct_url or {}).get("dir_info", {}).get("editable", False)
        return _folder(package.parent.resolve().as_uri(), editable=editable)
    if direct_url is None:
        return f"botctl=={version}"
    url = quote(direct_url["url"], safe=_URL_CHARACTERS)  # pip records the path of a git repository as it was typed
    fragments = [f"subdirectory={folder}"] if (folder := direct_url.get("subdirectory")) else []
    if vcs := direct_url.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    elif "dir_info" in direct_url:
        return _folder(url, editable=direct_url["dir_info"].get("editable", False))
    else:
        fragments += _hash_fragment(direct_url.get("archive_info", {}))
    url += f"#{'&'.join(fragments)}" if fragments else ""
    # Before pip 24.1, a name before the URL of a local repository was an error.
    return url if url.startswith("git+file:") else f"botctl @ {url}"


def _is_checkout(folder: Path) -> bool:
    """Whether ``folder`` is a source tree of botctl, which pip can install."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(project.get("project", {}).get("name") == "botctl")


def _folder(url: str, *, editable: bool) -> str:
    return f"-e {url}" if editable else f"botctl @ {url}"


def _hash_fragment(archive: dict[str, Any]) -> list[str]:
    hashes = archive.get("hashes") or dict([archive["hash"].split("=", 1)] if archive.get("hash") else [])
    return [f"sha256={hashes['sha256']}"] if "sha256" in hashes else []


def _read_direct_url() -> dict[str, Any] | None:
    """The record of the installed botctl; None if it is from an index or not installed."""
    try:
        recorded = json.loads(distribution("botctl").read_text("direct_url.json") or "null")
    except (PackageNotFoundError, ValueError):
        return None
    return recorded if isinstance(recorded, dict) and "url" in recorded else None
