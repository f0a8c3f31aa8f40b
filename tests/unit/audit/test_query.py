"""The MongoDB filter and the predicate of a query agree."""

import asyncio
import fnmatch
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botctl.audit.query import Query
from botctl.core.clock import iso_ms, unix_ms
from botctl.core.contracts.audit_entry import AuditOutcome
from tests.support.mongo_memory import MemoryDatabase

START = datetime(2026, 1, 1, tzinfo=UTC)
_MOMENTS = st.integers(0, 4).map(lambda n: START + timedelta(milliseconds=n))
_ACTIONS = st.sampled_from(["command.roll", "command.ops.status", "run.start", "command", "component.a\nb"])
_ACTORS = st.sampled_from(["9", "91", "ann"])
_FIELDS = st.fixed_dictionaries(
    {
        "at": _MOMENTS.map(iso_ms),
        "action": _ACTIONS,
        "actor": _ACTORS,
        "outcome": st.sampled_from(AuditOutcome).map(str),
    },
    optional={"name": st.sampled_from(["ann", "9", "a*n"]), "guild": st.sampled_from(["7", "8"])},
)
_QUERIES = st.builds(
    Query,
    actor=st.none() | _ACTORS | st.sampled_from(["a*", "9*", "*", "a*n"]),
    action=st.none() | _ACTIONS | st.sampled_from(["command.*", "*.start", "*", "c*.*s", "component.a*", "command"]),
    guild=st.none() | st.sampled_from(["7", "9"]),
    outcome=st.none() | st.sampled_from(AuditOutcome),
    since=st.none() | _MOMENTS,
    until=st.none() | _MOMENTS,
)


@settings(max_examples=150)
@given(_QUERIES, st.lists(_FIELDS, min_size=1, max_size=8))
def test_filter_and_predicate_select_the_same_entries(query, entries):
    """So a follower, which uses the predicate, and a reader, which uses the filter, see the same."""
    collection = MemoryDatabase()["log"]

    async def found():
        await collection.insert_many(
            [
                {"_id": n, "x": [fields], "at": unix_ms(datetime.fromisoformat(fields["at"]))}
                for n, fields in enumerate(entries)
            ]
        )
        return {document["_id"] for document in await collection.find(query.filter()).to_list()}

    assert asyncio.run(found()) == {n for n, fields in enumerate(entries) if query.matches(fields)}


@given(st.text(alphabet="ab.*\n", max_size=6).filter(lambda text: "*" in text), st.text(alphabet="ab.\n", max_size=6))
def test_only_star_is_special_in_patterns(pattern, action):
    fields = {"at": iso_ms(START), "action": action}
    assert Query(action=pattern).matches(fields) == fnmatch.fnmatchcase(action, pattern)


@pytest.mark.parametrize("action", ["command.roll", "command.rollx", "xcommand.roll", "commandxroll", "command.roll\n"])
def test_action_without_star_matches_exactly(action):
    fields = {"at": iso_ms(START), "action": action}
    assert Query(action="command.roll").matches(fields) == (action == "command.roll")


def test_since_is_inclusive_and_until_exclusive():
    fields = {"at": iso_ms(START), "action": "x"}
    assert Query(since=START).matches(fields)
    assert not Query(until=START).matches(fields)
    assert not Query(since=START + timedelta(milliseconds=1)).matches(fields)


def test_empty_query_has_empty_filter():
    assert Query().filter() == {}
