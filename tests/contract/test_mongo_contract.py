"""What botctl relies on of MongoDB. Each test is a promise of the store; botctl needs no more than these.

``documents`` is a server or memory; ``mongo_db`` a server only (concurrency, cursors over the wire).
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from bson import Binary
from pymongo import DeleteOne, InsertOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

AFTER = ReturnDocument.AFTER


async def test_second_insert_of_an_id_fails(documents):
    """The unique ``_id`` acts as a compare-and-swap: the first document stays."""
    await documents.blocks.insert_one({"_id": "000000000001", "writer": "a"})
    with pytest.raises(DuplicateKeyError):
        await documents.blocks.insert_one({"_id": "000000000001", "writer": "b"})
    assert (await documents.blocks.find_one({"_id": "000000000001"}))["writer"] == "a"


async def test_only_one_of_many_concurrent_inserts_succeeds(mongo_db):
    async def claim(writer):
        try:
            await mongo_db.blocks.insert_one({"_id": "1", "writer": writer})
        except DuplicateKeyError:
            return None
        return writer

    [winner] = [won for won in await asyncio.gather(*map(claim, range(20))) if won is not None]
    assert await mongo_db.blocks.find().to_list() == [{"_id": "1", "writer": winner}]


async def test_values_are_read_back_unchanged(documents):
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    document = {
        "_id": "1",
        "text": "naïve 😀 \u2028",
        "whole": 2**53 - 1,
        "large": 2**62,
        "real": 1.5,
        "yes": True,
        "none": None,
        "bytes": bytes(range(256)),
        "at": at,
        "list": [1, "two", {"three": [3]}],
        "nested": {"a": {"b": "c"}, "with-dash": 1},
    }
    await documents.facts.insert_one(document)
    found = await documents.facts.find_one({"_id": "1"})
    assert found == document
    assert found["at"].utcoffset() == timedelta(0)


async def test_dates_are_truncated_to_milliseconds(documents):
    await documents.facts.insert_one({"_id": "1", "at": datetime(2026, 1, 1, 0, 0, 0, 123999, tzinfo=UTC)})
    assert (await documents.facts.find_one())["at"].microsecond == 123000


async def test_unique_index_refuses_a_duplicate(documents):
    await documents.keys.create_index([("guild", 1), ("name", 1)], unique=True)
    await documents.keys.insert_one({"guild": "1", "name": "a"})
    await documents.keys.insert_one({"guild": "2", "name": "a"})
    with pytest.raises(DuplicateKeyError):
        await documents.keys.insert_one({"guild": "1", "name": "a"})
    await documents.keys.create_index([("guild", 1), ("name", 1)], unique=True)  # again is fine
    indexes = await documents.keys.index_information()
    assert any(index.get("unique") and list(index["key"]) == [("guild", 1), ("name", 1)] for index in indexes.values())


async def test_integers_are_sorted_by_value(documents):
    await documents.entries.insert_many([{"_id": f"{n:04}", "n": n} for n in (10, 2, 1, 11, 0, 100)])
    assert [d["n"] async for d in documents.entries.find().sort("n", 1)] == [0, 1, 2, 10, 11, 100]
    assert [d["n"] async for d in documents.entries.find().sort("n", -1).skip(1).limit(2)] == [11, 10]


async def test_padded_text_ids_are_sorted_by_value(documents):
    await documents.blocks.insert_many([{"_id": f"{n:012}"} for n in (10, 2, 1, 11, 0, 100)])
    assert [int(d["_id"]) async for d in documents.blocks.find().sort("_id", -1).limit(3)] == [100, 11, 10]
    found = documents.blocks.find({"_id": {"$gte": f"{2:012}", "$lt": f"{11:012}"}}).sort("_id", 1)
    assert [int(d["_id"]) async for d in found] == [2, 10]


async def test_range_query_finds_integers(documents):
    """Times that are searched for are milliseconds since 1970, as whole numbers."""
    start = 1_767_225_600_000
    await documents.entries.insert_many([{"_id": str(n), "ms": start + n} for n in range(10)])
    found = documents.entries.find({"ms": {"$gte": start + 3, "$lt": start + 6}}).sort("ms", 1)
    assert [d["ms"] - start async for d in found] == [3, 4, 5]


async def test_conditions_select_matching_documents(documents):
    await documents.entries.insert_many([{"_id": str(n), "n": n, "in": {"k": n % 3}} for n in range(9)])

    async def ids(condition):
        return sorted([int(d["_id"]) async for d in documents.entries.find(condition)])

    assert await ids({"in.k": 1}) == [1, 4, 7]
    assert await ids({"n": {"$in": [1, 2, 99]}}) == [1, 2]
    assert await ids({"n": {"$nin": [0, 1, 2]}, "in.k": {"$ne": 0}}) == [4, 5, 7, 8]
    assert await ids({"$or": [{"n": 1}, {"n": {"$gt": 7}}]}) == [1, 8]
    assert await ids({"missing": {"$exists": False}, "n": {"$lte": 1}}) == [0, 1]
    assert await documents.entries.count_documents({"in.k": 0}) == 3
    assert await documents.entries.count_documents({}) == 9


async def test_elem_match_tests_each_list_element(documents):
    """The index fields of audit entries: ``$elemMatch`` means the same element for all conditions."""
    await documents.blocks.insert_many([
        {"_id": "1", "x": [{"actor": "ana", "n": 1}, {"actor": "bo", "n": 9}]},
        {"_id": "2", "x": [{"actor": "ana", "n": 9}]},
    ])  # fmt: skip
    found = documents.blocks.find({"x": {"$elemMatch": {"actor": "ana", "n": {"$gt": 5}}}})
    assert [d["_id"] async for d in found] == ["2"]
    assert len(await documents.blocks.find({"x.actor": "ana"}).to_list()) == 2


async def test_projection_returns_only_selected_fields(documents):
    await documents.entries.insert_one({"_id": "1", "a": 1, "b": {"c": 2, "d": 3}})
    assert await documents.entries.find_one({"_id": "1"}, {"a": 1}) == {"_id": "1", "a": 1}
    assert await documents.entries.find_one({"_id": "1"}, {"_id": 0, "b": 1}) == {"b": {"c": 2, "d": 3}}
    assert await documents.entries.find_one({"_id": "1"}, {"b": 0}) == {"_id": "1", "a": 1}


async def test_missing_documents_are_not_an_error(documents):
    assert await documents.none.find_one({"_id": "1"}) is None
    assert await documents.none.find().to_list() == []
    assert await documents.none.count_documents({}) == 0
    assert (await documents.none.update_one({"_id": "1"}, {"$set": {"a": 1}})).matched_count == 0
    assert await documents.none.find_one_and_update({"_id": "1"}, {"$set": {"a": 1}}) is None
    assert (await documents.none.delete_one({"_id": "1"})).deleted_count == 0


async def test_update_operators_change_parts_of_a_document(documents):
    await documents.guilds.insert_one({"_id": "g", "a": {"b": 1, "c": 2}, "list": ["x"]})
    await documents.guilds.update_one({"_id": "g"}, {"$unset": {"a.b": ""}, "$set": {"a.d": 3}})
    await documents.guilds.update_one({"_id": "g"}, {"$addToSet": {"list": "y"}})
    await documents.guilds.update_one({"_id": "g"}, {"$addToSet": {"list": "y"}})
    await documents.guilds.update_one({"_id": "g"}, {"$pull": {"list": "x"}})
    assert await documents.guilds.find_one() == {"_id": "g", "a": {"c": 2, "d": 3}, "list": ["y"]}
    await documents.guilds.update_one({"_id": "g"}, {"$push": {"list": {"$each": ["p", "q"], "$slice": -2}}})
    assert (await documents.guilds.find_one())["list"] == ["p", "q"]


async def test_upsert_creates_once_and_then_changes(documents):
    for n in range(2):
        result = await documents.guilds.update_one(
            {"_id": "g"}, {"$set": {"n": n}, "$setOnInsert": {"first": n}}, upsert=True
        )
        assert (result.upserted_id is not None) is (n == 0)
    assert await documents.guilds.find_one() == {"_id": "g", "n": 1, "first": 0}


async def test_upsert_with_failing_condition_is_a_duplicate(documents):
    """With update_one, and with one plain condition beside the ``_id``. (For other forms see the traps.)"""
    await documents.leases.insert_one({"_id": "l", "fence": 5})
    with pytest.raises(DuplicateKeyError):
        await documents.leases.update_one({"_id": "l", "fence": 4}, {"$set": {"holder": "me"}}, upsert=True)
    assert await documents.leases.find_one() == {"_id": "l", "fence": 5}


async def test_find_and_update_returns_the_document_before_or_after(documents):
    update = {"$set": {"x": 1}, "$inc": {"n": 1}}
    assert await documents.leases.find_one_and_update({"_id": "l"}, update, upsert=True) is None
    before = await documents.leases.find_one_and_update({"_id": "l"}, update)
    after = await documents.leases.find_one_and_update({"_id": "l"}, update, return_document=AFTER)
    assert (before["n"], after["n"]) == (1, 3)


async def test_only_one_client_passes_a_fence(mongo_db):
    """A lease is a compare-and-swap on its ``fence``."""
    await mongo_db.leases.insert_one({"_id": "l", "fence": 1})
    taken = await asyncio.gather(
        *(
            mongo_db.leases.find_one_and_update(
                {"_id": "l", "fence": 1}, {"$set": {"holder": n}, "$inc": {"fence": 1}}, return_document=AFTER
            )
            for n in range(10)
        )
    )
    [lease] = [found for found in taken if found]
    assert await mongo_db.leases.find_one() == lease
    assert lease["fence"] == 2


async def test_concurrent_increments_are_not_lost(mongo_db):
    await asyncio.gather(
        *(mongo_db.counts.update_one({"_id": "n"}, {"$inc": {"n": 1}}, upsert=True) for _ in range(50))
    )
    numbers = await asyncio.gather(
        *(
            mongo_db.counts.find_one_and_update({"_id": "n"}, {"$inc": {"n": 1}}, return_document=AFTER)
            for _ in range(50)
        )
    )
    assert sorted(found["n"] for found in numbers) == list(range(51, 101))


async def test_current_date_is_set_by_the_server_clock(documents):
    """A lease is renewed with ``$currentDate``; no clock is compared with another, so only its change matters."""
    await documents.leases.insert_one({"_id": "l", "at": datetime(2020, 1, 1, tzinfo=UTC)})
    await documents.leases.update_one({"_id": "l"}, {"$currentDate": {"at": True}, "$inc": {"fence": 1}})
    renewed = await documents.leases.find_one()
    assert renewed["fence"] == 1
    assert renewed["at"] > datetime(2025, 1, 1, tzinfo=UTC)


async def test_ordered_batch_stops_at_the_first_error(documents):
    with pytest.raises(BulkWriteError) as caught:
        await documents.entries.insert_many([{"_id": i} for i in ("1", "2", "1", "3")], ordered=True)
    assert caught.value.details["nInserted"] == 2
    [error] = caught.value.details["writeErrors"]
    assert (error["index"], error["code"]) == (2, 11000)
    assert await documents.entries.count_documents({}) == 2


async def test_unordered_batch_continues_after_an_error(documents):
    await documents.entries.insert_one({"_id": "1"})
    with pytest.raises(BulkWriteError) as caught:
        await documents.entries.insert_many([{"_id": i} for i in ("1", "2", "3")], ordered=False)
    assert [error["index"] for error in caught.value.details["writeErrors"]] == [0]
    assert await documents.entries.count_documents({}) == 3


async def test_bulk_write_accepts_mixed_operations(mongo_db):
    await mongo_db.entries.insert_one({"_id": "old"})
    result = await mongo_db.entries.bulk_write(
        [InsertOne({"_id": "1"}), UpdateOne({"_id": "1"}, {"$inc": {"n": 2}}), DeleteOne({"_id": "old"})]
    )
    assert (result.inserted_count, result.modified_count, result.deleted_count) == (1, 1, 1)
    assert await mongo_db.entries.find().to_list() == [{"_id": "1", "n": 2}]


async def test_delete_removes_matching_documents(documents):
    await documents.entries.insert_many([{"_id": str(n), "n": n} for n in range(10)])
    assert (await documents.entries.delete_many({"n": {"$lt": 4}})).deleted_count == 4
    assert (await documents.entries.delete_one({"_id": "9"})).deleted_count == 1
    assert sorted([d["n"] async for d in documents.entries.find()]) == [4, 5, 6, 7, 8]


async def test_cursor_returns_all_batches_in_order(mongo_db):
    await mongo_db.entries.insert_many([{"_id": f"{n:04}", "n": n} for n in range(300)])
    cursor = mongo_db.entries.find().sort("n", 1).batch_size(50)
    assert [d["n"] async for d in cursor] == list(range(300))


async def test_group_stage_counts_and_sums(documents):
    await documents.entries.insert_many([{"_id": str(n), "k": n % 2, "n": n} for n in range(6)])
    cursor = await documents.entries.aggregate(
        [{"$match": {"n": {"$gte": 1}}}, {"$group": {"_id": "$k", "count": {"$sum": 1}, "sum": {"$sum": "$n"}}}]
    )
    groups = {d["_id"]: (d["count"], d["sum"]) for d in await cursor.to_list()}
    assert groups == {0: (2, 6), 1: (3, 9)}


async def test_large_document_is_stored(documents):
    value = bytes(1_000_000)
    await documents.blocks.insert_one({"_id": "1", "b": Binary(value)})
    assert bytes((await documents.blocks.find_one())["b"]) == value


async def test_databases_have_separate_collections(mongo_db):
    """Collections are named in snake case: the embedded store takes nothing else."""
    await mongo_db.audit_entries.insert_one({"_id": "1"})
    other = mongo_db.client[f"{mongo_db.name}_b"]
    try:
        assert await other.audit_entries.find_one() is None
        assert await mongo_db.list_collection_names() == ["audit_entries"]
    finally:
        await mongo_db.client.drop_database(other.name)
