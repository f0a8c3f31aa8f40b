"""Writes the files of a new bot: those of the example bot that comes with botctl, adapted."""

from __future__ import annotations

import errno
import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files as resource_files
from pathlib import Path

from botctl.cli.init.origin import requirements
from botctl.cli.init.pythons import base_python, program_prefix
from botctl.core.errors import BotctlError, NeedsDecision
from botctl.core.version import __version__

_FOLDERS = ("commands", "migrations", "config")
_PM2_FILE = "ecosystem.config.js"
_SKIPPED = {"__pycache__", ".gitkeep"}
_GITIGNORE = """\
# Secrets, data and logs stay on the machine where they are.
.env
/secrets/
.botctl/
.venv/
logs/
__pycache__/
"""


_README = "README.md"
_README_TEXT = """\
# {name}

A Discord bot that botctl runs.

```sh
{python} -m venv .venv
{bin}pip install -r requirements.txt
{bin}botctl run
```

This starts the bot and everything it needs. Without a token the bot connects to the sandbox, a local Discord. Use it in
another terminal:

```sh
{bin}botctl sandbox send "/ping"   # send one command
{bin}botctl sandbox                # open a prompt
```

Below, `botctl` stands for `{bin}botctl`.

| Path | Content |
|---|---|
| `commands/` | The commands, one file each. Restart the bot after a change. |
| `migrations/` | Changes of the database: see `botctl migrate --help`. |
| `config/botctl.toml` | Settings. `botctl run --explain-config` lists them all, and where each value comes from. |
| `.env` | Secrets, such as the token. Copy `.env.example` to `.env`. |
| `ecosystem.config.js` | For PM2: `pm2 start ecosystem.config.js && pm2 save`. |

`botctl --help` lists all commands of botctl. Its documentation explains the sandbox, settings, production and PM2.
"""


def create(folder: Path) -> list[Path]:
    """Write a new bot into ``folder``; returns the files, relative to ``folder``.

    The bot is named after the folder. An existing README.md is kept; if any other file exists, nothing is written.

    Raises:
        NeedsDecision: a file that would be written exists.
        BotctlError: the folder cannot be written.
    """
    files = dict(_render_files(folder))
    if (folder / _README).exists():
        del files[_README]
    existing = [name for name in files if (folder / name).exists()]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise NeedsDecision(
            f"{folder} already has {existing[0]}{more}; nothing was written.",
            hint="Give `botctl init` a new folder, or move those files away first.",
        )
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        for name in files:  # none of them was there before, and the next attempt must not find them
            with suppress(OSError):
                (folder / name).unlink()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "Free space on that disk." if full else "Give `botctl init` a folder that you may write to."
        raise BotctlError(f"{folder} cannot be written: {error.strerror}.", hint=hint) from error
    return [Path(name) for name in files]


def bot_name(folder: Path) -> str:
    """The setting ``bot``: the name of ``folder`` in lower case, with dashes, at most 32 characters."""
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:32].strip("-") or "bot"


def example_folder() -> Path:
    """The folder of the example bot: in the installed package, or the root of a checkout."""
    package = Path(str(resource_files("botctl")))
    packaged = package / "example"
    return packaged if packaged.is_dir() else package.parent


def _render_files(folder: Path) -> Iterator[tuple[str, str]]:
    """The paths in the new bot ``folder``, and what is written there."""
    root, bot = example_folder(), bot_name(folder)
    for name in _FOLDERS:
        for path in sorted((root / name).rglob("*")):
            if path.is_file() and not _SKIPPED & set(path.parts):
                yield _adapt(path.relative_to(root), path.read_text(encoding="utf-8"), bot)
    yield _adapt(Path(_PM2_FILE), (root / _PM2_FILE).read_text(encoding="utf-8"), bot)
    yield ".gitignore", _GITIGNORE
    yield _README, _README_TEXT.format(name=bot, python=base_python(), bin=program_prefix(folder))
    yield "requirements.txt", requirements(Path(str(resource_files("botctl"))), __version__)


def _adapt(path: Path, text: str, bot: str) -> tuple[str, str]:
    """Return the path and the text in the new bot: ``bot`` replaces the name of the example."""
    if path == Path("config/env.example"):
        return ".env.example", text
    if path == Path("config/botctl.toml"):
        text = re.sub(r'(?m)^bot = ".*"', f'bot = "{bot}"', text, count=1)
    if path == Path(_PM2_FILE):
        text = re.sub(r'(?m)^( +)name: ".*"', rf'\1name: "{bot}"', text, count=1)
        text = text.replace("const creator = null;", f"const creator = {json.dumps(sys.executable or None)};", 1)
    return path.as_posix(), text
