"""Create the next migration file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from unicodedata import combining, normalize

from botctl.core.errors import BotctlError, NeedsDecision, UsageError
from botctl.core.escape import safe
from botctl.migrate.files import FILE_NAME

TEMPLATE: Final = '''\
"""{title}."""

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase


async def up(db: AsyncDatabase[dict[str, Any]]) -> None:
    """Change the database. If this is interrupted and run again, the result should be the same."""


# If it can be reverted, write `async def down(db)`, too.
'''


def create(folder: Path, description: str) -> Path:
    """Write the next file of ``folder``, named after ``description``, and return its path. Overwrites nothing.

    Raises UsageError if ``description`` cannot become a file name, NeedsDecision if the file exists, and BotctlError if
    it cannot be written.
    """
    path = folder / next_name([path.name for path in folder.glob("*.py")], description)
    title = re.sub(r"[_-]+", " ", description).strip()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(title=title[0].upper() + title[1:].rstrip(".")))
    except FileExistsError as error:
        raise NeedsDecision(
            f"{path} exists already; it was not changed.", hint="Run the command again, or choose another name."
        ) from error
    except OSError as error:
        raise BotctlError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def next_name(existing: list[str], description: str) -> str:
    """The next file name: ``0003_add_an_index.py``; ``ü`` becomes ``u``. Raises UsageError as `create`."""
    spelled = "".join(letter for letter in normalize("NFKD", description).casefold() if not combining(letter))
    numbers = [int(found["n"]) for name in existing if (found := FILE_NAME.fullmatch(name))]
    name = f"{max(numbers, default=0) + 1:04}_{re.sub(r'[^a-z0-9]+', '_', spelled).strip('_')}.py"
    lost = any(letter.isalnum() and not letter.isascii() for letter in spelled)
    if (
        lost
        or not description.isprintable()
        or '"' in description
        or "\\" in description
        or FILE_NAME.fullmatch(name) is None
    ):
        raise UsageError(
            f"{safe(description, 80)!r} makes no file name.",
            hint='Describe it in a few words of a-z and 0-9: botctl migrate create "index of votes".',
        )
    return name
