"""Find the files of PM2 and systemd that start this project. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from botctl.doctor.supervisor import SupervisorFile, belongs_to, started_program

_PM2_FILES: Final = ("ecosystem.config.js", "ecosystem.config.cjs", "ecosystem.config.json")
_UNIT_FOLDERS: Final = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_MAX_BYTES: Final = 1_000_000


def read_supervisor_files(root: Path, env: Mapping[str, str]) -> list[SupervisorFile]:
    return [*_pm2_files(root, env), *_units(root, env)]


def _pm2_files(root: Path, env: Mapping[str, str]) -> Iterator[SupervisorFile]:
    for name in _PM2_FILES:
        if (text := _text(root / name)) is not None:
            creator = re.search(r"\bcreator\s*=\s*[\"']([^\"']+)[\"']", text)
            candidates = [str(root / ".venv" / "bin" / "python"), creator[1] if creator else ""]
            named = env.get("BOTCTL_PYTHON")
            is_ours = "BOTCTL_PYTHON" in text  # else we do not know how it chooses
            programs = [named] if named else [path for path in candidates if path and Path(path).exists()]
            yield SupervisorFile(name, text, is_pm2=True, programs=tuple(map(_real, programs)) if is_ours else ())


def _units(root: Path, env: Mapping[str, str]) -> Iterator[SupervisorFile]:
    home = env.get("HOME", "")
    folders = [*_UNIT_FOLDERS, *([f"{home}/.config/systemd/user"] if home.startswith("/") else [])]
    seen: set[Path] = set()
    for folder in map(Path, folders):
        with suppress(OSError):
            for path in sorted(folder.glob("*.service")):
                real = path.resolve()
                text = _text(path)
                if real not in seen and text is not None and belongs_to(text, str(root)):
                    program = started_program(text)
                    programs = () if program is None else (_real(program),)
                    yield SupervisorFile(str(path), text, is_pm2=False, programs=programs)
                seen.add(real)


def _real(program: str) -> str:
    """Without links; but that of a Python stays, which leads out of its environment."""
    path = Path(program)
    return str(path.parent.resolve() / path.name if path.name.startswith("python") else path.resolve())


def _text(path: Path) -> str | None:
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= _MAX_BYTES:
            return path.read_text(encoding="utf-8", errors="replace")
    return None
