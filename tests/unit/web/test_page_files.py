"""The files of the page: small, without a build step, nothing from outside, and no way to make HTML of a text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import botctl
from botctl.core.contracts.events import BY_TYPE
from botctl.core.contracts.permissions import PERMISSIONS
from botctl.realtime.protocol import CloseReason

STATIC = Path(botctl.__file__).parent / "web" / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
MAX_BYTES = 150_000
FORBIDDEN = {
    "HTML from text": r"(inner|outer|insertAdjacent)HTML|document\.write|ContextualFragment|DOMParser|srcdoc",
    "code from text": r"\beval\(|new Function|setTimeout\(\s*[\"'`]|javascript:",
    "a style of its own": r"setAttribute\(\s*[\"']style|[{,] style: |\.cssText",
    "a handler as an attribute": r"setAttribute\(\s*[\"']on|\son[a-z]+=",
    "something from outside": r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(",
}


def read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def names_in(text: str, start: str) -> set[str]:
    """The texts in the list that begins after ``start``."""
    return set(re.findall(r'"([^"]+)"', text.partition(start)[2].partition("]")[0]))


def test_page_is_small() -> None:
    assert sum(path.stat().st_size for path in FILES) <= MAX_BYTES


@pytest.mark.parametrize("path", [*SCRIPTS, STATIC / "index.html", STATIC / "app.css"], ids=lambda path: path.name)
def test_file_has_no_way_to_run_or_load_what_is_not_its_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert {what for what, pattern in FORBIDDEN.items() if re.search(pattern, text)} == set()


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("HTML from text", "view.innerHTML = name"),
        ("code from text", "eval(text)"),
        ("a style of its own", 'element.setAttribute("style", text)'),
        ("a handler as an attribute", "<a onclick=x>"),
        ("something from outside", 'src="https://cdn.example/x.js"'),
    ],
)
def test_forbidden_line_is_found(what: str, line: str) -> None:
    assert re.search(FORBIDDEN[what], line)


def test_index_has_no_script_or_style_of_its_own() -> None:
    text = read("index.html")
    assert re.findall(r"<script[^>]*>", text) == ['<script type="module" src="/static/app.js">']
    assert "<style" not in text
    assert " style=" not in text


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_imported_modules_exist_and_have_what_is_imported(path: Path) -> None:
    for names, target in re.findall(
        r'^import \{ ([^}]+) \} from "([^"]+)";', path.read_text(encoding="utf-8"), re.MULTILINE
    ):
        exported = set(
            re.findall(
                r"^export (?:async )?(?:function|class|const) (\w+)",
                (path.parent / target).read_text(encoding="utf-8"),
                re.MULTILINE,
            )
        )
        assert {name.strip() for name in names.split(",")} <= exported, (path.name, target)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_imported_names_are_used(path: Path) -> None:
    imports, text = [], path.read_text(encoding="utf-8")
    for names in re.findall(r"^import \{ ([^}]+) \}", text, re.MULTILINE):
        imports += [name.strip() for name in names.split(",")]
    assert [name for name in imports if len(re.findall(rf"\b{name}\b", text)) < 2] == []


def test_every_file_of_a_room_is_in_the_list_of_rooms() -> None:
    assert names_in(read("rooms.js"), "NAMES = [") == {path.stem for path in (STATIC / "rooms").glob("*.js")}


def test_rooms_ask_for_permissions_that_there_are() -> None:
    asked = {
        need for path in SCRIPTS for need in re.findall(r'(?:needs: |may\([\w.]+, )"([^"]+)"', path.read_text("utf-8"))
    }
    assert asked
    assert asked <= PERMISSIONS.keys()


def test_feed_has_all_topics_and_a_sentence_for_every_event_that_is_relayed() -> None:
    text = read("events.js")
    assert names_in(text, "TOPICS = [") == {event.topic for event in BY_TYPE.values()}
    assert set(re.findall(r'^  "([a-z.]+)": \(', text, re.MULTILINE)) == BY_TYPE.keys() - {"command.started"}


def test_every_close_code_that_ends_the_connection_has_a_sentence() -> None:
    said = {int(code) for code in re.findall(r"^  (\d{4}): \"", read("realtime.js"), re.MULTILINE)}
    assert said == {int(reason) for reason in CloseReason if not reason.reconnect}
