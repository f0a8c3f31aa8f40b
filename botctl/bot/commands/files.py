"""Find and import the Python files of ``commands/``: those in the folder, in its sub-folders, and in packages.

A file or folder whose name begins with ``_`` or ``.`` is passed over (see `is_passed_over`). A package is a folder with
an ``__init__.py``. If that has a ``setup(bot)``, it registers the cogs of the whole folder, as in disnake.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from botctl.core.files.project_imports import is_passed_over

PACKAGE_FILE: Final = "__init__.py"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to load. ``module``: its name within the folder's package (``fun.joke``), empty for the folder itself."""

    path: Path
    module: str

    @property
    def is_package(self) -> bool:
        return self.path.name == PACKAGE_FILE

    @property
    def has_importable_name(self) -> bool:
        """Whether Python can import it: a dot in the name of a file or folder separates modules."""
        return self.is_package or "." not in self.path.stem


def find_files(folder: Path) -> list[FoundFile]:
    """The files below ``folder``, in order; the ``__init__.py`` of a folder comes before its other files."""
    return list(_files_in(folder, "", {folder.resolve()}))


def import_file(file: FoundFile, package: str) -> types.ModuleType:
    """Import ``file`` as a module of ``package``, which `importable` made. May raise anything: it runs the file."""
    if file.module:
        return importlib.import_module(f"{package}.{file.module}")
    spec = importlib.util.spec_from_file_location(
        package, file.path, submodule_search_locations=[str(file.path.parent)]
    )
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018  it is a Python file
    module = sys.modules[package] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _files_in(folder: Path, package: str, entered: set[Path]) -> Iterator[FoundFile]:
    """``entered``: the real folders on the way here, so that a link to one of them is no endless loop."""
    entries = sorted(folder.iterdir())
    if (folder / PACKAGE_FILE).is_file():
        yield FoundFile(folder / PACKAGE_FILE, package)
    prefix = f"{package}." if package else ""
    for path in entries:
        if is_passed_over(path.name):
            continue
        real = path.resolve()
        if path.suffix == ".py" and not path.is_dir():
            yield FoundFile(path, f"{prefix}{path.stem}")
        elif path.is_dir() and real not in entered:
            yield from _files_in(path, f"{prefix}{path.name}", {*entered, real})
