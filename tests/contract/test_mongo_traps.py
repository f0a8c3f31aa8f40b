"""Where the embedded document store (nx-27017 0.8.1, neosqlite 1.17) is not a MongoDB, and what botctl does instead.

Each test shows the trap on the embedded store, and beside it the way that is right on every server; the contract
states that way for all stores. A test that fails after an upgrade means a trap is gone: good news, and it is removed.

What a standalone MongoDB lacks, too: transactions and retryable writes (replica sets only). botctl needs neither, and
the embedded store refuses transactions with the same code.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from pymongo import ReturnDocument
from pymongo.errors import BulkWriteError, OperationFailure, WriteError

from tests.support.stores import new_database

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def db(mongo_server):
    """The embedded store only."""
    async with new_database(mongo_server) as database:
        yield database


async def test_integer_ids_are_sorted_as_text(db):
    """Instead: a zero-padded text ``_id``, or another field that is a whole number."""
    await db.x.insert_many([{"_id": n} for n in (0, 1, 2, 10, 11)])
    assert [d["_id"] async for d in db.x.find().sort("_id", 1)] == [0, 1, 10, 11, 2]


async def test_dates_are_compared_by_second(db):
    """So does text that looks like a date. Instead: milliseconds since 1970 as a whole number are what is searched."""
    for n in range(5):
        at = START + timedelta(milliseconds=n)
        await db.x.insert_one({"_id": str(n), "at": at, "iso": at.isoformat(timespec="milliseconds")})
    third = START + timedelta(milliseconds=3)
    assert len(await db.x.find({"at": third}).to_list()) == 5
    assert await db.x.find({"at": {"$lt": third}}).to_list() == []
    assert len(await db.x.find({"iso": {"$gte": third.isoformat(timespec="milliseconds")}}).to_list()) == 5


async def test_dates_in_lists_are_not_compared(db):
    await db.x.insert_many([{"_id": str(n), "x": [{"at": START + timedelta(days=n)}]} for n in range(3)])
    late = START + timedelta(days=2)
    assert len(await db.x.find({"x": {"$elemMatch": {"at": {"$gte": late}}}}).to_list()) == 3
    assert await db.x.find({"x.at": {"$gte": late}}).to_list() == []


async def test_updated_date_is_read_back_as_text(db):
    """One that is inserted does not. Instead: ISO 8601 text, where nothing compares it."""
    await db.x.insert_one({"_id": "1"})
    await db.x.update_one({"_id": "1"}, {"$set": {"at": START}})
    assert isinstance((await db.x.find_one())["at"], str)
    await db.x.update_one({"_id": "1"}, {"$set": {"at": "2026-01-01T00:00:00.000Z"}})
    assert (await db.x.find_one())["at"] == "2026-01-01T00:00:00.000Z"


async def test_pipeline_updates_fail(db):
    """Instead: operators."""
    await db.x.insert_one({"_id": "1", "n": 1})
    with pytest.raises(WriteError):
        await db.x.update_one({"_id": "1"}, [{"$set": {"n": {"$add": ["$n", 1]}}}])
    with pytest.raises(OperationFailure):
        await db.x.find_one_and_update({"_id": "1"}, [{"$set": {"n": 2}}])
    assert (await db.x.find_one())["n"] == 1


async def test_now_in_an_expression_matches_no_document(db):
    """Instead: write times with ``$currentDate``, and do not compare them with a clock."""
    await db.x.insert_one({"_id": "1", "at": START - timedelta(days=5000)})
    assert await db.x.find({"$expr": {"$lt": ["$at", "$$NOW"]}}).to_list() == []


async def test_find_and_update_with_upsert_hides_a_duplicate(db):
    """A server raises DuplicateKeyError. Instead: insert_one, or update_one with upsert, which do; or no upsert."""
    await db.x.insert_one({"_id": "l", "until": 10})
    for condition in ({"$or": [{"until": {"$lt": 5}}, {"holder": "me"}]}, {"until": 4}):
        found = await db.x.find_one_and_update(
            {"_id": "l"} | condition, {"$set": {"holder": "me"}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        assert found is None
    assert await db.x.find().to_list() == [{"_id": "l", "until": 10}]


async def test_replacing_upsert_drops_the_id_of_its_filter(db):
    """Instead: ``$set`` with upsert, or the ``_id`` in the replacement as well."""
    await db.x.replace_one({"_id": "1"}, {"n": 1}, upsert=True)
    assert await db.x.find_one({"_id": "1"}) is None
    await db.x.replace_one({"_id": "2"}, {"_id": "2", "n": 1}, upsert=True)
    assert await db.x.find_one({"_id": "2"}) == {"_id": "2", "n": 1}


async def test_transaction_is_refused_and_reverts_no_write_of_others(db):
    """Instead: none; one insert is everything (see the contract)."""
    async with db.client.start_session() as session:
        await session.start_transaction()
        with pytest.raises(OperationFailure, match="need a replica set") as refused:
            await db.x.insert_one({"_id": "within"}, session=session)
        assert refused.value.code == 20
        await db.x.insert_one({"_id": "of another client"})
        await session.abort_transaction()
        with pytest.raises(OperationFailure, match="need a replica set"):
            await session.with_transaction(lambda own: db.x.find_one(session=own))
    assert await db.x.find().to_list() == [{"_id": "of another client"}]


async def test_validators_are_not_enforced(db):
    """Instead: pydantic, before it is written."""
    await db.create_collection("x", validator={"$jsonSchema": {"required": ["needed"]}})
    await db.x.insert_one({"_id": "1"})


async def test_partial_index_covers_all_documents(db):
    await db.x.create_index("a", unique=True, partialFilterExpression={"kind": "unique"})
    with pytest.raises(BulkWriteError):
        await db.x.insert_many([{"a": 1, "kind": "other"}, {"a": 1, "kind": "other"}])


async def test_unique_index_accepts_several_documents_without_the_field(db):
    """A server takes one, unless the index is sparse. Instead: the field is always there."""
    await db.x.create_index("a", unique=True)
    await db.x.insert_many([{"b": 1}, {"b": 1}])


async def test_index_name_is_ignored(db):
    """So it cannot be dropped by the name that it was given. Instead: indexes are found by their keys."""
    await db.x.create_index([("a", 1)], name="mine")
    assert set(await db.x.index_information()) == {"_id_", "idx_x_a"}


async def test_index_directions_are_ignored(db):
    """Instead: indexes are told apart by their fields."""
    await db.x.create_index([("a", -1), ("b", 1)])
    assert [("a", 1), ("b", 1)] in [index["key"] for index in (await db.x.index_information()).values()]


async def test_compound_index_with_id_prevents_inserts(db):
    """It can be made while the collection is empty. Instead: without the ``_id``."""
    await db.x.create_index([("a", -1), ("_id", -1)])
    with pytest.raises(OperationFailure):
        await db.x.insert_one({"_id": "1", "a": 1})


async def test_uuids_are_read_back_as_bytes(db):
    """Instead: text."""
    await db.x.insert_one({"_id": "1", "u": UUID(int=5)})
    assert (await db.x.find_one())["u"] == UUID(int=5).bytes


async def test_dotted_projection_returns_flat_keys(db):
    """Instead: whole fields."""
    await db.x.insert_one({"_id": "1", "list": [{"a": 1, "b": 2}], "m": {"a": 1, "b": 2}})
    assert await db.x.find_one({"_id": "1"}, {"_id": 0, "m.a": 1}) == {"m.a": 1}
    assert await db.x.find_one({"_id": "1"}, {"_id": 0, "list.a": 1}) == {}
    assert (await db.x.find_one({"_id": "1"}, {"m.a": 0}))["m"] == {"a": 1, "b": 2}


async def test_sub_document_as_a_condition_fails(db):
    """Instead: its fields, with dots."""
    await db.x.insert_one({"_id": "1", "m": {"k": 1}})
    with pytest.raises(OperationFailure):
        await db.x.find_one({"m": {"k": 1}})


@pytest.mark.parametrize("name", ["with.dot", "with-dash", "values"])
async def test_collection_with_special_name_fails(db, name):
    """Not even a word of SQL. Instead: snake case, with a prefix."""
    with pytest.raises(OperationFailure):
        await db[name].insert_one({"_id": "1"})
