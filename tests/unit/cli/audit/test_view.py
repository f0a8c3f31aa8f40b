"""`botctl audit log`: its options as a query, and the lines that it prints."""

import io
import json
from datetime import UTC, datetime

import pytest
from bson.binary import Binary
from rich.console import Console

from botctl.audit.log import EntryBatch
from botctl.cli.audit.command import _build_query
from botctl.cli.audit.view import LogView, actor_name, describe
from botctl.core.contracts.audit_entry import AuditOutcome
from botctl.core.errors import UsageError

NO_OPTIONS = dict.fromkeys(("actor", "action", "guild", "outcome", "since", "until"))
ENTRY = {
    "id": "e1",
    "at": "2026-01-02T03:04:05.678Z",
    "action": "command.roll",
    "actor": {"type": "user", "id": "9", "name": "ann"},
    "outcome": "success",
    "target": {"type": "channel", "id": "8"},
    "ms": 12,
}


def document(**fields):
    entry = ENTRY | fields
    return {"_id": entry["id"], "b": Binary(json.dumps(entry).encode()), "x": [{}], "at": 0, "w": {"at": 0}}


def test_options_become_a_query():
    query = _build_query(
        **NO_OPTIONS | {"actor": "@ann", "outcome": "denied", "since": "2026-01-31", "action": "command.*"}
    )
    assert (query.actor, query.outcome, query.action) == ("ann", AuditOutcome.DENIED, "command.*")
    assert query.since == datetime(2026, 1, 31, tzinfo=UTC)
    assert query.until is None


@pytest.mark.parametrize(("name", "value"), [("since", "soon"), ("until", ""), ("outcome", "fine")])
def test_wrong_option_value_is_a_usage_error(name, value):
    with pytest.raises(UsageError):
        _build_query(**NO_OPTIONS | {name: value})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "#8 · 12 ms"),
        ({"outcome": "denied", "reason": "5/10s per user", "changes": [{"k": "times", "new": 7, "old": None}]},
         "denied: 5/10s per user · 7 times · #8 · 12 ms"),
        ({"outcome": "error", "reason": "ValueError", "error": "abcd2345"},
         "error: ValueError · error id abcd2345 · #8 · 12 ms"),
        ({"target": {"type": "guild", "id": "7"}, "ms": None,
          "changes": [{"k": "locale", "old": None, "new": "de"}, {"k": "disabled", "old": ["a", "b"], "new": []}]},
         "guild 7 · locale: de · disabled: a, b → none"),
        ({"stage": "begin", "outcome": "unknown", "target": {"type": "migration", "id": "1", "name": "0001"}},
         "migration 0001 · 12 ms"),
        ({"changes": {"cut": '[{"k"', "len": 99999, "sha256": "x"}}, 'changes: [{"k"… · #8 · 12 ms'),
        ({"changes": "?", "target": "?"}, "changes: ? · 12 ms"),
        ({"actor": {"type": "cli", "id": "uid:0", "auth": "sudo:ann"}}, "#8 · through sudo by ann · 12 ms"),
        ({"unreadable": True}, "#8 · 12 ms · the stored entry e1 cannot be read"),
        ({"changes": ["?", {"k": "a", "new": 1}]}, "a: 1 · #8 · 12 ms"),
    ],
)  # fmt: skip
def test_entry_is_described_in_a_few_words(fields, expected):
    assert describe(ENTRY | fields) == expected


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        ({"type": "user", "id": "9", "name": "ann"}, "@ann"),
        ({"type": "user", "id": "9"}, "@9"),
        ({"type": "user", "id": "9", "name": "system"}, "@system"),
        ({"type": "user", "id": "9", "name": "cli:root"}, "@cli:root"),
        ({"type": "key", "id": "system"}, "key:system"),
        ({"type": "cli", "id": "uid:0", "name": "root"}, "cli:root"),
        ({"type": "system", "id": "vm:1"}, "system"),
        ({}, "@?"),
    ],
)
def test_actor_is_named_with_its_type(actor, expected):
    assert actor_name({"actor": actor}) == expected


def shown(width, *documents):
    out = io.StringIO()
    view = LogView(as_json=False, console=Console(file=out, force_terminal=True, width=width, color_system=None))
    view.print_entries(documents, 50)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_terminal_shows_days_above_and_no_line_too_wide(width):
    long = document(id="e2", at="2026-01-03T00:00:00.000Z", outcome="error", reason="word " * 40, action="a." * 40)
    lines = shown(width, document(), document(id="e3"), long).splitlines()
    assert max(map(len, lines)) <= width
    assert [line.strip() for line in lines if "UTC" in line] == ["2026-01-02 UTC", "2026-01-03 UTC"]
    assert lines[1].startswith("03:04:05 ✓ @ann ")


def test_control_characters_of_an_entry_are_escaped(capsys):
    evil = {"type": "user", "id": "9", "name": "a\x1b[2Jb\n2026-01-02 forged\u202e"}
    text = shown(80, document(actor=evil, action="x\x1b]0;y\x07", reason="\x9b31m"))
    assert "\x1b]" not in text
    assert "\u202e" not in text
    assert "\x9b" not in text
    LogView(as_json=False).print_entries([document(actor=evil)], 50)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_empty_log_is_a_notice_or_an_empty_array(capsys):
    LogView(as_json=False).print_entries([], 50)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "No entry fits these options.\n")
    LogView(as_json=True).print_entries([], 50)
    assert capsys.readouterr().out == "[]\n"


def test_full_page_hints_at_limit(capsys):
    LogView(as_json=False).print_entries([document()], 1)
    assert "--limit" in capsys.readouterr().err


def test_follower_prints_json_lines_and_each_wait_once(capsys):
    view = LogView(as_json=True)
    for batch in (
        EntryBatch([], "away"),
        EntryBatch([], "away"),
        EntryBatch([]),
        EntryBatch([document(), document(id="e2")]),
        EntryBatch([], "away"),
    ):
        view.print_batch(batch)
    printed = capsys.readouterr()
    assert [json.loads(line)["id"] for line in printed.out.splitlines()] == ["e1", "e2"]
    assert list(map(json.loads, printed.err.splitlines())) == [{"waiting_for": "away"}] * 2


def test_hint_is_given_where_nothing_fits(capsys):
    view = LogView(as_json=False, hint="There is no action 'x'.")
    view.print_entries([document()], 50)
    assert capsys.readouterr().err == ""
    view.print_entries([], 50)
    assert capsys.readouterr().err == "No entry fits these options. There is no action 'x'.\n"


def test_follower_explains_why_nothing_is_shown(capsys):
    view = LogView(as_json=False)
    for batch in (EntryBatch([], "away"), EntryBatch([]), EntryBatch([])):
        view.print_batch(batch)
    notice = "No entry fits these options yet. Waiting for new ones; Ctrl-C ends."
    assert capsys.readouterr().err.splitlines() == ["away", notice]
