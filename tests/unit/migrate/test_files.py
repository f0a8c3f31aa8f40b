"""Migration files and all their faults, found without running them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botctl.core.errors import MigrationFaults, NeedsDecision, UsageError
from botctl.migrate.create import create, next_name
from botctl.migrate.files import checksum, discover, load, parse_files
from tests.support import ROOT

GOOD = '"""Do it."""\n\n\nasync def up(db):\n    await db.x.insert_one({"_id": "1"})\n'
EXAMPLES = ROOT / "migrations"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.removeprefix('m')}.py").write_text(text, encoding="utf-8")
    return folder


def faults(source: str) -> list[tuple[int, str]]:
    return [(fault.line, fault.sentence) for fault in parse_files([(Path("0001_a.py"), source.encode())])[1]]


def test_files_are_found_in_order_without_helpers(tmp_path: Path) -> None:
    write(tmp_path, m0002_b=GOOD, m0001_a=GOOD + "\n\nasync def down(db):\n    await db.x.drop()\n", _help="x = 1\n")
    first, second = discover(tmp_path).files
    assert (first.n, first.name, first.title, first.reversible) == (1, "0001_a", "Do it.", True)
    assert (second.n, second.name, second.reversible) == (2, "0002_b", False)


def test_generator_inside_up_is_no_fault() -> None:
    assert faults("async def up(db):\n    async def ids():\n        yield 1\n    [i async for i in ids()]\n") == []


def test_files_of_editors_and_systems_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, m0001_a=GOOD)
    for name in ("._0001_a.py", ".0002_b.py", "0001_a.py~", "#0001_a.py#"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / ".#0001_a.py").symlink_to("user@host.1:1")  # a lock of Emacs: it points nowhere
    assert [file.name for file in discover(tmp_path).files] == ["0001_a"]
    assert create(tmp_path, "next").name == "0002_next.py"


def test_unreadable_file_is_reported_with_the_others(tmp_path: Path) -> None:
    write(tmp_path, m0001_a="x = (")
    (tmp_path / "0002_b.py").mkdir()
    with pytest.raises(MigrationFaults, match=r"(?s)0001_a\.py:1: SyntaxError.*0002_b\.py:1: it cannot be read"):
        discover(tmp_path)


@pytest.mark.parametrize(
    "how", ["from _shared import NAME", "from ._shared import NAME", "from pack.inner import NAME"]
)
@pytest.mark.parametrize("where", ["top", "inside"])
async def test_helper_beside_migrations_can_be_imported(tmp_path: Path, how: str, where: str) -> None:
    """At the top of the file, and while the migration runs. A helper of another folder does not get in the way."""
    for folder, value in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        (folder / "pack").mkdir(parents=True)
        for helper in ("_shared.py", "pack/inner.py"):
            (folder / helper).write_text(f"NAME = {value}\n")
        body = "    db.append(NAME)\n"
        source = f"{how}\nasync def up(db):\n{body}" if where == "top" else f"async def up(db):\n    {how}\n{body}"
        write(folder, m0001_a=source)
        found, db = discover(folder), []
        before = list(sys.path)
        await load(found, found.files)["0001_a"].up(db)
        assert (db, sys.path) == ([value], before)


def test_missing_folder_has_no_files(tmp_path: Path) -> None:
    assert discover(tmp_path / "none").files == ()


def test_shipped_migrations_can_be_loaded() -> None:
    found = discover(EXAMPLES)
    assert load(found, found.files).keys() == {file.name for file in found.files}


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("async def up(db:\n", 1, "SyntaxError"),
        ("x = 1\nreturn 2\n", 2, "'return' outside function"),
        ("\0", 1, "null bytes"),
        ("x = 1\n", 1, "it has no `async def up(db)`"),
        ("up = print\n", 1, "it has no `async def up(db)`"),
        ("\ndef up(db):\n    db.x()\n", 2, "must be `async def up(db)`"),
        ("async def up():\n    print()\n", 1, "takes the database and nothing else"),
        ("async def up(db, more):\n    print()\n", 1, "takes the database and nothing else"),
        ("async def up(db, *, more):\n    print()\n", 1, "takes the database and nothing else"),
        ('async def up(db):\n    """Say."""\n', 1, "up does nothing yet"),
        (GOOD + "async def down(db): ...\n", 6, "down does nothing yet"),
        ("async def up(db):\n    if db:\n        yield 1\n", 3, "up yields, so calling it would run nothing"),
        (GOOD + "async def down(db):\n    x = yield\n", 7, "down yields"),
        ("def up(db):\n    yield from db\n", 1, "must be `async def up(db)`"),
        (GOOD + "async def up(db):\n    await db.y()\n", 6, "up is defined 2 times"),
    ],
)
def test_fault_in_file_has_line_and_sentence(source: str, line: int, words: str) -> None:
    [(at, sentence)] = faults(source)
    assert at == line
    assert words in sentence


def test_faults_of_all_files_are_reported_together(tmp_path: Path) -> None:
    """Names, gaps, repeated numbers and faults in the code, with paths from the project's root."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    write(folder, m0002_b="x = (", m0002_c=GOOD, m0005_e=GOOD, helper=GOOD, m0000_z=GOOD)
    with pytest.raises(MigrationFaults) as caught:
        discover(folder)
    reported = "\n".join(caught.value.faults)
    for words in (
        "migrations/0000_z.py:1: the first migration is 0001",
        "migrations/0002_b.py:1: SyntaxError",
        "migrations/0002_b.py:1: there is no 0001 before it",
        "migrations/0002_c.py:1: 0002_b.py has the same number",
        "migrations/0005_e.py:1: there is no 0003 to 0004 before it",
        "migrations/helper.py:1: a migration is called 0001_what_it_does.py",
    ):
        assert words in reported
    assert caught.value.exit_code == 78


def test_import_errors_are_reported_before_any_file_runs(tmp_path: Path) -> None:
    """The fault names the line that raised, whatever it was."""
    write(
        tmp_path, m0001_a="import nothing_like_that\n" + GOOD, m0002_b="raise BaseException(3)\n" + GOOD, m0003_c=GOOD
    )
    found = discover(tmp_path)
    with pytest.raises(MigrationFaults) as caught:
        load(found, found.files)
    one, two = caught.value.faults
    assert "0001_a.py:1: ModuleNotFoundError" in one
    assert "0002_b.py:1: BaseException: 3" in two


def test_loaded_code_is_the_checked_code(tmp_path: Path) -> None:
    """A deployment may replace files at any time. The checksum in the ledger is that of the code that ran."""
    write(tmp_path, m0001_a="MARK = 1\n" + GOOD)
    found = discover(tmp_path)
    write(tmp_path, m0001_a="MARK = 2\n" + GOOD)
    assert load(found, found.files)["0001_a"].up.__wrapped__.__globals__["MARK"] == 1


@given(st.text(alphabet="ab \r\n", max_size=30))
def test_checksum_ignores_line_ends(text: str) -> None:
    """Git rewrites all line ends to CRLF, or to LF."""
    unix = text.replace("\r\n", "\n").replace("\r", "\n").encode()
    assert checksum(text.encode()) == checksum(unix) == checksum(unix.replace(b"\n", b"\r\n"))


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_checksum_sees_any_other_change(one: bytes, other: bytes) -> None:
    same = one.replace(b"\r\n", b"\n").replace(b"\r", b"\n") == other.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert (checksum(one) == checksum(other)) is same


class TestCreate:
    def test_next_number_is_used_and_empty_file_is_fault(self, tmp_path: Path) -> None:
        """So an empty migration is never applied by mistake."""
        folder = tmp_path / "migrations"
        assert create(folder, "Index of votes").name == "0001_index_of_votes.py"
        path = create(folder, "more-votes")
        assert path.name == "0002_more_votes.py"
        assert path.read_text().startswith('"""More votes."""')
        with pytest.raises(MigrationFaults, match=r"0002_more_votes.py:8: up does nothing yet"):
            discover(folder)
        write(folder, m0001_index_of_votes=GOOD)
        path.write_text(
            path.read_text().replace('should be the same."""', 'should be the same."""\n    await db["x"].drop()')
        )
        assert [file.title for file in discover(folder).files] == ["Do it.", "More votes."]

    def test_existing_file_is_not_overwritten(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Not even if another process writes the same name at this moment."""
        write(tmp_path, m0001_mine=GOOD)
        monkeypatch.setattr("botctl.migrate.create.next_name", lambda *_: "0001_mine.py")
        with pytest.raises(NeedsDecision):
            create(tmp_path, "mine")
        assert (tmp_path / "0001_mine.py").read_text() == GOOD

    @pytest.mark.parametrize(
        "words", ["", "---", "индекс", "index of Łódź", "a" * 61, 'a"""b', "a\nb", "../etc/passwd\0", "back\\slash"]
    )
    def test_unusable_description_is_refused(self, words: str) -> None:
        with pytest.raises(UsageError):
            next_name([], words)

    @pytest.mark.parametrize(
        ("words", "name"),
        [("Über uns", "uber_uns"), ("été", "ete"), ("Straße №5", "strasse_no5"), ("cafe\u0301", "cafe")],
    )
    def test_letters_are_transliterated_to_a_to_z(self, words: str, name: str) -> None:
        assert next_name([], words) == f"0001_{name}.py"

    @given(st.text(max_size=40))
    def test_created_name_is_a_valid_migration_name(self, words: str) -> None:
        try:
            name = next_name(["0001_a.py", "_x.py", "odd.py"], words)
        except UsageError:
            return
        assert name.startswith("0002_")
        assert parse_files([(Path(name), GOOD.encode())])[0][0].n == 2
