"""Import the files of one of a project's folders (``commands/``, ``migrations/``), and know which names are not files.

The files of a folder can import each other, by name (``from _shared import x``) or relatively (``from ._shared``).
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is none of the author's.

    A name that begins with a dot belongs to an editor or a system: ``.#hi.py`` of Emacs, ``._hi.py`` of macOS. One
    that begins with ``_`` is a helper, which others import. A name like ``hi.py~`` does not end in ``.py`` anyway.
    """
    return name.startswith((".", "_"))


@contextmanager
def importable(folder: Path, prefix: str) -> Iterator[str]:
    """Make ``folder`` a package and yield its name, which begins with ``prefix``.

    Until the block ends, its files can import each other and those of the folder around it by name.
    """
    package = f"{prefix}{zlib.crc32(str(folder.resolve()).encode()):08x}"
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    spec = importlib.machinery.ModuleSpec(package, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    sys.modules[package] = importlib.util.module_from_spec(spec)
    paths = [str(folder), str(folder.parent)]  # last, so that an author's random.py does not hide Python's
    sys.path.extend(paths)
    before = set(sys.modules)
    importlib.invalidate_caches()
    try:
        yield package
    finally:  # another folder may have a helper of the same name
        for path in paths:
            sys.path.remove(path)
        for name in set(sys.modules) - before:
            if not name.startswith(prefix) and _is_from(sys.modules[name], folder):
                del sys.modules[name]


def _is_from(module: types.ModuleType, folder: Path) -> bool:
    """Whether ``module`` is a file of ``folder``, or a folder in it (a package without ``__init__.py`` has no file)."""
    try:
        places = [module.__file__] if getattr(module, "__file__", None) else list(module.__path__)
    except Exception:  # noqa: BLE001  anything may stand in sys.modules
        return False
    return any(isinstance(place, str) and Path(place).is_relative_to(folder) for place in places)
