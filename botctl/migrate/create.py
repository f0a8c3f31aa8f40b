"""The next migration, as a file to be written."""

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
    """Change what is there. Interrupted and run again, it should come to the same end."""


# Where it can be taken back, write `async def down(db)`, too.
'''


def create(folder: Path, words: str) -> Path:
    """Write the next file of ``folder``, named after ``words``, and return where it is. Nothing is overwritten.

    Raises:
        UsageError: ``words`` make no name.
        NeedsDecision: the file is there already.
        BotctlError: it cannot be written.
    """
    path = folder / next_name([path.name for path in folder.glob("*.py")], words)
    title = re.sub(r"[_-]+", " ", words).strip()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(title=title[0].upper() + title[1:].rstrip(".")))
    except FileExistsError as error:
        raise NeedsDecision(f"{path} is there already; it was not touched.", hint="Choose another name.") from error
    except OSError as error:
        raise BotctlError(f"{path} cannot be written: {error.strerror}.") from error
    return path


def next_name(taken: list[str], words: str) -> str:
    """The file name for ``words`` after the files called ``taken``: ``0003_add_an_index.py``; ``ü`` becomes ``u``.

    Raises:
        UsageError: ``words`` make no name, or one without some of their letters; or there are 9999 files.
    """
    spelled = "".join(letter for letter in normalize("NFKD", words).casefold() if not combining(letter))
    numbers = [int(found["n"]) for name in taken if (found := FILE_NAME.fullmatch(name))]
    name = f"{max(numbers, default=0) + 1:04}_{re.sub(r'[^a-z0-9]+', '_', spelled).strip('_')}.py"
    lost = any(letter.isalnum() and not letter.isascii() for letter in spelled)
    if lost or not words.isprintable() or '"' in words or "\\" in words or FILE_NAME.fullmatch(name) is None:
        raise UsageError(
            f"{safe(words, 80)!r} makes no name.",
            hint='Say what it does in a few words of a-z and 0-9: botctl migrate create "index of votes".',
        )
    return name
