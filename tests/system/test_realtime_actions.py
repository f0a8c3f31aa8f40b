"""States that clients watch and actions that they do, over real sockets; each action is audited once."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from botctl.core.contracts.access import Holder, HolderType, Requester
from botctl.core.contracts.audit_entry import AuditEntry
from botctl.core.contracts.grants import GrantStore
from botctl.core.contracts.jobs import Job
from botctl.core.contracts.lease import LeaseHolder
from botctl.core.contracts.schedule import parse
from botctl.core.contracts.states import STATE_PERMISSIONS
from botctl.core.errors import Unreachable
from botctl.jobs.store import MongoJobStore
from botctl.ratelimit.keys import state_prefix
from botctl.realtime.protocol import CloseReason
from botctl.stores.mongo import Database
from tests.support import ROOT
from tests.support.people import sign_in, ticket_of
from tests.support.realtime import TOPIC, Client, Rig, open_client, serving
from tests.support.waiting import LIMIT_S, until

GUILD, OTHER = "900000000000000001", "900000000000000002"
WHY = "it is noisy"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botctl.realtime.server.CLOSE_GRACE_S", 0.2)
    monkeypatch.setattr("botctl.realtime.states.EVERY_S", 0.02)


@pytest.fixture
async def rig(redis: Redis, tmp_path: Path) -> AsyncIterator[Rig]:
    async with serving(redis, tmp_path) as running:
        yield running


async def key_with(rig: Rig, *permissions: str, guild: str | None = None) -> tuple[str, str]:
    """A new key with ``permissions``: its id and its text."""
    key, text = await rig.keys.create("test", permissions=permissions, guild=guild)
    return key.id, text


async def add_job(rig: Rig, name: str = "cleanup") -> MongoJobStore:
    async def clean() -> None: ...

    store = MongoJobStore.of(rig.running.get(Database))
    await store.get(Job(name, clean, parse("every 1h")), datetime.now(UTC))
    return store


def entries(rig: Rig, prefix: str) -> list[AuditEntry]:
    return [entry for entry in rig.auditor.entries if entry.action.startswith(prefix) and entry.actor.type == "key"]


async def act(client: Client, action: str, **args: str) -> dict[str, Any]:
    return await client.request("do", action=action, args=args, reason=WHY)


def changes_of_jobs(client: Client) -> list[dict[str, Any]]:
    """Other states change by themselves: the uses of keys, for example."""
    return [change for change in client.of_type("change") if change["state"] == "jobs"]


class TestStates:
    async def test_every_state_has_a_snapshot_and_changes_follow(self, rig: Rig) -> None:
        store = await add_job(rig)
        _, text = await key_with(rig, "*")
        async with open_client(rig.server.url, text) as client:
            names = list(STATE_PERMISSIONS)
            reply = await client.request("watch", states=names)
            assert list(reply["states"]) == names
            jobs = reply["states"]["jobs"]
            assert (jobs["cleanup"]["paused"], jobs["cleanup"]["schedule"]) == (False, "every 1h")
            assert not any("digest" in key or text in str(key) for key in reply["states"]["keys"].values())
            (record,) = await store.all()
            await store.set_paused(record.stored_job, datetime.now(UTC), paused=True)
            await until(lambda: bool(changes_of_jobs(client)), what="a change")
            change = changes_of_jobs(client)[0]
            assert (change["state"], change["key"], change["value"]["paused"]) == ("jobs", "cleanup", True)
            await store.collection.delete_one({"_id": "cleanup"})
            await until(lambda: changes_of_jobs(client)[-1]["value"] is None, what="the key to be gone")
            left = await client.request("unwatch", states=["jobs", "keys", "no-such"])
            assert left["states"] == sorted(set(names) - {"jobs", "keys"})
        await until(lambda: rig.server.states.watches == 0, what="the watcher to leave")

    async def test_state_that_cannot_be_read_is_stale_and_then_fresh(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(*_: Any) -> Any:
            raise Unreachable("MongoDB is away")

        await add_job(rig)
        _, text = await key_with(rig, "jobs:*")
        async with open_client(rig.server.url, text) as client, open_client(rig.server.url, text) as late:
            await client.request("watch", states=["jobs"])
            with monkeypatch.context() as away:
                away.setattr(MongoJobStore, "all", fail)
                await until(lambda: bool(client.of_type("stale")), what="stale")
                reply = await late.request("watch", states=["jobs"])
                assert list(reply["states"]["jobs"]) == ["cleanup"]  # as it was last
                assert late.messages[-1] == client.of_type("stale")[0]
                await client.request("ping")
            await until(lambda: bool(client.of_type("fresh") and late.of_type("fresh")), what="fresh")
            assert [len(client.of_type(kind)) for kind in ("stale", "fresh")] == [1, 1]
            await late.request("unwatch", states=["jobs"])
            await client.request("unwatch", states=["jobs"])
            monkeypatch.setattr(MongoJobStore, "all", fail)
            first = await client.request("watch", states=["jobs"])
            assert (first["code"], first["temporary"]) == ("unavailable", True)
            assert (await client.request("unwatch", states=["jobs"]))["states"] == []

    async def test_states_need_their_permission_for_the_bot(self, rig: Rig) -> None:
        _, here = await key_with(rig, "*", guild=GUILD)
        _, narrow = await key_with(rig, "status:read")
        async with open_client(rig.server.url, here) as client, open_client(rig.server.url, narrow) as other:
            assert (await client.request("watch", states=["jobs"]))["code"] == "forbidden"
            refused = await other.request("watch", states=["services", "jobs", "keys"])
            assert refused["code"] == "forbidden"
            assert refused["message"] == "jobs, keys: this needs jobs:read, keys:read for the bot"
            unknown = await other.request("watch", states=["job"])
            assert unknown["code"] == "bad request"
            assert "'job'; there are processes" in unknown["message"]
            assert rig.server.states.watches == 0

    async def test_lost_right_disconnects_the_watcher(self, rig: Rig) -> None:
        key_id, text = await key_with(rig, f"events:{TOPIC}")
        holder, grants = Holder(HolderType.KEY, key_id), rig.running.get(GrantStore)
        await grants.grant("viewer", holder, reason="a dashboard")
        await until(lambda: rig.access.decide(Requester(holder), "jobs:read").allowed, what="the grant")
        async with open_client(rig.server.url, text) as client, open_client(rig.server.url, text, TOPIC) as idle:
            await client.request("watch", states=["jobs"])
            await grants.revoke("viewer", holder, reason="no dashboard")
            assert await client.wait_closed() == CloseReason.ACCESS_CHANGED
            assert (await idle.request("ping"))["type"] == "pong"


class TestActions:
    async def test_job_is_requested_only_while_a_process_schedules(self, rig: Rig) -> None:
        store = await add_job(rig)
        key_id, text = await key_with(rig, "jobs:run", "jobs:write")
        async with open_client(rig.server.url, text) as client:
            held = await act(client, "jobs.run", job="cleanup")
            assert (held["code"], held["message"], held["temporary"]) == (
                "held",
                "no process schedules jobs now.",
                True,
            )
            assert (await store.all())[0].requested is None
            for holder, code in ((LeaseHolder("p", 16, 15), "held"), (LeaseHolder("p", 1, 15), None)):
                rig.leases.held_by = holder
                done = await act(client, "jobs.run", job="cleanup")
                assert done.get("code") == code
            assert done["result"] == {"job": "cleanup", "run": (await store.all())[0].requested}
            assert (await act(client, "jobs.run", job="clean"))["code"] == "not found"
            for action, changed in (("jobs.pause", True), ("jobs.pause", False), ("jobs.resume", True)):
                done = await act(client, action, job="cleanup")
                paused = action == "jobs.pause"
                assert done["result"] == {"job": "cleanup", "paused": paused, "changed": changed}
                assert (await store.all())[0].paused is paused
        recorded = entries(rig, "job.")
        assert [(entry.action, entry.outcome) for entry in recorded] == [
            ("job.request", "error"),
            ("job.request", "error"),
            ("job.request", "success"),
            ("job.request", "error"),
            ("job.pause", "success"),
            ("job.pause", "success"),
            ("job.resume", "success"),
        ]
        assert {(entry.actor.id, entry.actor.name, entry.reason) for entry in recorded} == {(key_id, "test", WHY)}
        assert {entry.via.iface for entry in recorded if entry.via} == {"api"}

    async def test_limits_are_reset(self, rig: Rig, redis: Redis) -> None:
        used = state_prefix(rig.metrics.bot, "one", "key") + "k"
        await redis.set(used, 2**52)
        _, text = await key_with(rig, "ratelimit:write")
        async with open_client(rig.server.url, text) as client:
            done = await act(client, "limits.reset", subject="key:k", policy="one")
            assert done["result"] == {"subject": "key:k", "reset": 1, "policies": ["one"]}
            assert (await act(client, "limits.reset", subject="bob"))["code"] == "bad request"
        assert await redis.exists(used) == 0
        assert [(entry.outcome, entry.reason) for entry in entries(rig, "ratelimit.")] == [
            ("success", WHY),
            ("error", WHY),
        ]

    async def test_keys_and_grants_are_revoked(self, rig: Rig) -> None:
        _, text = await key_with(rig, "keys:admin", "grants:admin")
        other_id, other_text = await key_with(rig, "*")
        grants, holder = rig.running.get(GrantStore), Holder(HolderType.USER, "100000000000000001")
        await grants.grant("viewer", holder, guild=GUILD, reason="a moderator")
        async with open_client(rig.server.url, text) as client, open_client(rig.server.url, other_text) as other:
            assert (await act(client, "keys.revoke", key=other_id))["result"] == {"key": other_id, "changed": True}
            assert await other.wait_closed() == CloseReason.KEY_ENDED
            assert (await act(client, "keys.revoke", key=other_id))["result"]["changed"] is False
            assert (await act(client, "keys.revoke", key="none"))["code"] == "not found"
            args = {"role": "viewer", "holder": str(holder)}
            assert (await act(client, "grants.revoke", **args))["code"] == "not found"
            assert (await act(client, "grants.revoke", **args, guild=GUILD))["type"] == "done"
            assert (await act(client, "grants.revoke", role="viewer", holder="ann"))["code"] == "bad request"
        assert await grants.list() == []
        outcomes = ["success", "success", "error"]
        assert [entry.outcome for entry in entries(rig, "key.revoke")] == outcomes
        assert [entry.outcome for entry in entries(rig, "role.revoke")] == ["error", "success", "error"]

    async def test_document_that_is_no_key_is_deleted_and_recorded_once(self, rig: Rig) -> None:
        _, text = await key_with(rig, "keys:admin")
        await rig.running.get(Database)["botctl_api_keys"].insert_one({"_id": "forged"})
        async with open_client(rig.server.url, text) as client:
            assert (await act(client, "keys.revoke", key="forged"))["result"] == {"key": "forged", "changed": True}
        assert [(entry.action, entry.reason) for entry in entries(rig, "key.")] == [("key.delete", WHY)]

    async def test_guild_settings_are_set_in_the_guild_of_the_right(self, rig: Rig) -> None:
        _, text = await key_with(rig, "guild-settings:write", guild=GUILD)
        async with open_client(rig.server.url, text) as client:
            (offered,) = (await client.request("actions"))["actions"]
            assert offered["action"] == "guild-settings.set"
            assert offered["args"] == [{"name": name, "required": True} for name in ("guild", "setting", "value")]
            done = await act(client, "guild-settings.set", guild=GUILD, setting="locale", value="de")
            assert (done["result"]["changed"], done["result"]["settings"]["locale"]) == (True, "de")
            same = await act(client, "guild-settings.set", guild=GUILD, setting="locale", value="de")
            assert same["result"]["changed"] is False
            wrong = await act(client, "guild-settings.set", guild=GUILD, setting="colour", value="red")
            assert wrong["code"] == "bad request"
            refused = await act(client, "guild-settings.set", guild=OTHER, setting="locale", value="de")
            assert refused["message"] == f"this needs the permission guild-settings:write in the guild {OTHER}"
        recorded = entries(rig, "guild.settings.set")
        assert [(entry.guild, entry.outcome) for entry in recorded] == [
            (GUILD, "success"),
            (GUILD, "success"),
            (GUILD, "error"),
            (OTHER, "denied"),
        ]

    async def test_denied_actions_are_recorded_and_bad_requests_name_what_there_is(self, rig: Rig) -> None:
        key_id, text = await key_with(rig, "jobs:read")
        async with open_client(rig.server.url, text) as client:
            assert (await client.request("actions"))["actions"] == []
            refused = await act(client, "jobs.pause", job="cleanup")
            assert (refused["code"], refused["message"]) == (
                "forbidden",
                "this needs the permission jobs:write for the bot",
            )
            for fields, part in (
                ({"action": "jobs.stop"}, "there are jobs.run, "),
                ({"action": "jobs.pause", "args": {"name": "x"}}, "takes job"),
                ({"action": "jobs.pause", "args": {}}, "job is missing"),
                ({"action": "jobs.pause", "args": {"job": 7}}, "job is not a text"),
                ({"action": "jobs.pause", "args": {"job": "x"}, "reason": ""}, "reason is a text"),
                ({"action": "jobs.pause", "args": {"job": "x"}, "reason": "x" * 201}, "reason is a text"),
            ):
                reply = await client.request("do", **{"reason": WHY, **fields})
                assert reply["code"] == "bad request"
                assert part in reply["message"]
        (entry,) = entries(rig, "job.")
        assert (entry.outcome, entry.actor.id, entry.reason, entry.target and entry.target.id) == (
            "denied",
            key_id,
            WHY,
            "cleanup",
        )

    async def test_end_that_is_not_known_is_recorded_as_such(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(*_: Any, **__: Any) -> Any:
            raise Unreachable("MongoDB is away")

        await add_job(rig)
        _, text = await key_with(rig, "jobs:write")
        monkeypatch.setattr(MongoJobStore, "set_paused", fail)
        async with open_client(rig.server.url, text) as client:
            reply = await act(client, "jobs.pause", job="cleanup")
            assert (reply["code"], reply["temporary"]) == ("unavailable", True)
        (entry,) = entries(rig, "job.")
        assert entry.outcome == "unknown"

    async def test_client_of_the_docs_pauses_a_job_that_fails(self, rig: Rig) -> None:
        store = await add_job(rig)
        _, text = await key_with(rig, "jobs:*")
        example = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "realtime.md").read_text(), re.DOTALL)[1]
        command = (sys.executable, "-c", example, rig.server.url, text, "cleanup")
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        await until(lambda: rig.server.states.watches == 1, what="the client to watch")
        await store.collection.update_one({"_id": "cleanup"}, {"$set": {"outcome": "failed"}})
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate()
        assert "'changed': True" in out.decode()
        assert (await store.all())[0].paused


class TestPeople:
    """Callers that are signed-in persons: they have Discord roles in guilds."""

    async def test_ticket_opens_one_connection_with_the_rights_of_the_person(self, rig: Rig) -> None:
        moderator = Holder(HolderType.ROLE, "500000000000000001")
        await rig.running.get(GrantStore).grant("operator", moderator, guild=GUILD, reason="they moderate")
        await until(lambda: bool(rig.access.rules.grants), what="the grant")
        session = await sign_in(rig, {GUILD: frozenset({moderator.id}), OTHER: frozenset()})
        ticket = await ticket_of(rig, session)
        async with open_client(rig.server.url) as client, open_client(rig.server.url) as again:
            reply = await client.request("auth", ticket=ticket)
            assert reply["session"] == {"id": session.id.removeprefix("session:"), "user": "7", "name": "ann"}
            assert (await client.request("subscribe", topics=[TOPIC]))["type"] == "subscribe"
            for guild in (None, OTHER, GUILD):
                rig.publish(guild=guild)
            await client.wait_for_events(1)
            assert client.numbers == [3]
            assert (await client.request("watch", states=["jobs"]))["code"] == "forbidden"
            assert [offer["action"] for offer in (await client.request("actions"))["actions"]] == ["guild-settings.set"]
            done = await act(client, "guild-settings.set", guild=GUILD, setting="locale", value="de")
            assert done["result"]["changed"] is True
            refused = await again.request("auth", ticket=ticket)
            assert (refused["code"], await again.wait_closed()) == ("bad ticket", CloseReason.BAD_KEY)
        actors = [(e.action, e.actor.type, e.actor.id, e.outcome) for e in rig.auditor.entries]
        assert ("guild.settings.set", "user", "7", "success") in actors
        assert ("ticket.use", "address", "127.0.0.1", "denied") in actors

    async def test_person_is_disconnected_when_the_grant_of_the_guild_ends(self, rig: Rig) -> None:
        moderator, grants = Holder(HolderType.ROLE, "500000000000000001"), rig.running.get(GrantStore)
        await grants.grant("operator", moderator, guild=GUILD, reason="they moderate")
        await until(lambda: bool(rig.access.rules.grants), what="the grant")
        session = await sign_in(rig, {GUILD: frozenset({moderator.id})})
        async with open_client(rig.server.url) as client:
            await client.request("auth", ticket=await ticket_of(rig, session))
            await client.request("subscribe", topics=[TOPIC])
            await grants.revoke("operator", moderator, guild=GUILD, reason="they left")
            assert await client.wait_closed() == CloseReason.ACCESS_CHANGED
