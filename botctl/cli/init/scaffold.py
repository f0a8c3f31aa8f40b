"""A new bot from the example: what `botctl init` writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from botctl.core.errors import BotctlError, NeedsDecision
from botctl.core.version import __version__

_FOLDERS = ("commands", "migrations", "config")
_PM2 = "ecosystem.config.js"
_SKIPPED = {"__pycache__", ".gitkeep"}
_GITIGNORE = """\
# Secrets, data and logs stay on the machine where they are.
.env
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
python3 -m venv .venv
.venv/bin/pip install -r requirements.txt
.venv/bin/botctl run
```

That starts the bot with all it needs. Without a token it talks to the sandbox, a local Discord; in another terminal:

```sh
.venv/bin/botctl sandbox send "/ping"   # one command
.venv/bin/botctl sandbox                # a prompt
```

| Where | What |
|---|---|
| `commands/` | The commands, a file each. A change is there after a restart. |
| `migrations/` | Changes of the database: `botctl migrate --help`. |
| `config/botctl.toml` | Settings. `botctl run --explain-config` lists all, with where each comes from. |
| `.env` | Secrets, such as the token; copy `.env.example`. |
| `ecosystem.config.js` | For PM2: `pm2 start ecosystem.config.js && pm2 save`. |

`botctl --help` names every verb, and botctl's own pages tell the rest: the sandbox, settings, production, PM2.
"""


def create(folder: Path) -> list[Path]:
    """Write a new bot into ``folder`` and return the files written, seen from ``folder``.

    The bot is named after the folder. Nothing is written when any of the files is already there; a README.md may be.

    Raises:
        NeedsDecision: a file that would be written exists.
        BotctlError: the folder cannot be written.
    """
    written = dict(_files(bot_name(folder)))
    if (folder / _README).exists():
        del written[_README]
    taken = [name for name in written if (folder / name).exists()]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise NeedsDecision(
            f"{folder} already has {taken[0]}{more}; nothing was written.",
            hint="Choose a new folder, or move those files away first.",
        )
    try:
        for name, text in written.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BotctlError(
            f"{folder} cannot be written: {error.strerror}.", hint="Choose a folder that you may write to."
        ) from error
    return [Path(name) for name in written]


def bot_name(folder: Path) -> str:
    """The setting ``bot`` for a bot in ``folder``: its name in lower case, with dashes, at most 32 characters."""
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:32].strip("-") or "bot"


def example() -> Path:
    """Where the example bot is: inside the installed package, or around it in a checkout."""
    package = Path(str(files("botctl")))
    packed = package / "example"
    return packed if packed.is_dir() else package.parent


def _files(name: str) -> Iterator[tuple[str, str]]:
    root = example()
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not _SKIPPED & set(path.parts):
                yield _adapt(path.relative_to(root), path.read_text(encoding="utf-8"), name)
    yield _adapt(Path(_PM2), (root / _PM2).read_text(encoding="utf-8"), name)
    yield ".gitignore", _GITIGNORE
    yield _README, _README_TEXT.format(name=name)
    yield "requirements.txt", f"botctl=={__version__}\n"


def _adapt(path: Path, text: str, name: str) -> tuple[str, str]:
    if path == Path("config/env.example"):
        return ".env.example", text
    if path == Path("config/botctl.toml"):
        text = re.sub(r'(?m)^bot = ".*"', f'bot = "{name}"', text, count=1)
    if path == Path(_PM2):
        text = re.sub(r'(?m)^( +)name: ".*"', rf'\1name: "{name}"', text, count=1)
    return path.as_posix(), text
