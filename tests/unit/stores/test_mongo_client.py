"""What every client of MongoDB asks for, whatever the address says."""

import pytest
from pymongo import ReadPreference

from botctl.migrate.ledger import Ledger
from botctl.stores import leases as module
from botctl.stores.leases import leases
from botctl.stores.mongo import connect
from tests.support.waiting import LIMIT_S


@pytest.mark.parametrize("mode", ["secondary", "secondaryPreferred", "nearest"])
async def test_reads_go_to_the_primary(mode):
    async with connect(f"mongodb://127.0.0.1:1/?readPreference={mode}", timeout_s=LIMIT_S) as client:
        assert client["bot"]["botctl_guilds"].read_preference == ReadPreference.PRIMARY


async def test_leases_and_ledger_read_what_a_majority_has(monkeypatch):
    async def not_embedded(_client):
        return False

    monkeypatch.setattr(module, "is_embedded", not_embedded)
    async with connect("mongodb://127.0.0.1:1/?readConcernLevel=local", timeout_s=LIMIT_S) as client:
        async with leases(client["bot"]) as taken:
            assert taken.collection.read_concern.level == "majority"
        assert Ledger(client["bot"])._records.read_concern.level == "majority"
