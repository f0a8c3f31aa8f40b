"""Hold the code to standard terms: `python tools/check_words.py` prints each word and name of words.toml that it finds.

Names are the parts of identifiers (``seat`` in ``seat_of`` and ``SeatMap``); words are those of comments, docstrings,
texts and pages. A public class name that occurs in several modules is found, too. What must stay stands in words.toml
with its reason.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = ("botctl", "commands", "migrations", "tests", "tools", "bench", "examples")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORD = re.compile(r"[A-Za-z]+")
_TEXT = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


@dataclass(frozen=True)
class Rules:
    """``words`` and ``names``: each with its standard term. ``allowed``: ``path: word`` to the reason; ``classes``: the
    public class names that may occur several times, with the reason.
    """

    words: Mapping[str, str]
    names: Mapping[str, str]
    allowed: Mapping[str, str]
    classes: Mapping[str, str]

    @classmethod
    def load(cls, path: Path) -> Rules:
        """The rules of a TOML file; raises KeyError where a table is missing."""
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(tables["words"], tables["names"], tables["allowed"], tables["classes"])


def in_code(source: str, rules: Rules) -> Iterator[tuple[int, str, str]]:
    """The line, the word and its standard term, of each that Python ``source`` should not have."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            parts = [part.lower() for part in _PART.findall(token.string)]
            found = [(part, rules.names[part]) for part in parts if part in rules.names]
        elif token.type in _TEXT:
            found = [(word, rules.words[word]) for word in _words(token.string) if word in rules.words]
        else:
            continue
        yield from ((token.start[0], word, term) for word, term in found)


def in_page(text: str, rules: Rules) -> Iterator[tuple[int, str, str]]:
    """The same for a page of the documentation."""
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, word, rules.words[word]) for word in _words(line) if word in rules.words)


def _words(text: str) -> Iterator[str]:
    return (word.lower() for word in _WORD.findall(text))


def repeated_classes(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Public class names that several of the modules define, each with their names."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for name, source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name)
    return {name: where for name, where in homes.items() if len(where) > 1}


def faults(root: Path, rules: Rules) -> Iterator[str]:
    """A line for everything that is not as the rules say, unused exceptions included."""
    unused = {*rules.allowed, *rules.classes}
    for path, line, word, term in _found(root, rules):
        if f"{path}: {word}" in rules.allowed:
            unused.discard(f"{path}: {word}")
        else:
            yield f"{path}:{line}: “{word}”: write {term}"
    package = [(str(path.relative_to(root)), path.read_text("utf-8")) for path in (root / "botctl").rglob("*.py")]
    for name, homes in sorted(repeated_classes(package).items()):
        if name in rules.classes:
            unused.discard(name)
        else:
            yield f"class {name} stands in {', '.join(sorted(homes))}: give each a name of its own"
    yield from (f"tools/words.toml: the exception “{one}” is no longer needed" for one in sorted(unused))


def _found(root: Path, rules: Rules) -> Iterator[tuple[str, int, str, str]]:
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            if "node_modules" not in path.parts and path != Path(__file__):
                name = str(path.relative_to(root))
                yield from ((name, *found) for found in in_code(path.read_text("utf-8"), rules))
    for path in sorted([*root.glob("*.md"), *(root / "docs").glob("*.md")]):
        yield from ((str(path.relative_to(root)), *found) for found in in_page(path.read_text("utf-8"), rules))


def main() -> int:
    """Print what is found; the exit code is 1 where there is anything."""
    found = list(faults(ROOT, Rules.load(Path(__file__).with_name("words.toml"))))
    print("\n".join(found) if found else "words and names: all standard")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
