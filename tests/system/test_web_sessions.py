"""Sessions of the web page over real sockets: who may do what, and how they end on every process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import disnake
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from botctl.bot.member_changes import watch_member_changes
from botctl.core.contracts.access import Holder, HolderType
from botctl.core.contracts.audit_entry import Principal, encode_line, make_entry
from botctl.core.contracts.command_access import KnownCommands
from botctl.core.contracts.events import MemberRolesChanged, SessionChanged, SessionEnded
from botctl.core.contracts.permissions import PERMISSIONS
from botctl.core.errors import Held
from botctl.core.processes.runtime import Runtime
from botctl.stores import embedded_redis
from botctl.stores.redis import connect
from tests.support.certificates import make_certificate
from tests.support.clock import ManualClock
from tests.support.discord import ANN, BOB, CAT, GUILD, INTENTS, MODERATOR, Discord, local_discord
from tests.support.mongo_memory import MemoryDatabase
from tests.support.stores import clean_redis, server
from tests.support.waiting import LIMIT_S, expires, until
from tests.support.web import Browser, WebRig, browser, serving_web

pytestmark = pytest.mark.asyncio(loop_scope="module")
OTHER_GUILD = "900000000000000002"
AUDIT = "botctl_audit"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared(redis_server: str) -> AsyncIterator[Redis]:
    async with clean_redis(redis_server) as redis:
        yield redis


@pytest.fixture(scope="module")
def database() -> MemoryDatabase:
    return MemoryDatabase()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(
    shared: Redis, database: MemoryDatabase, discord: Discord, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WebRig]:
    root: Path = tmp_path_factory.mktemp("web")
    async with serving_web(shared, root, discord.url, database=database) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(rig: WebRig) -> AsyncIterator[Browser]:
    """A new browser; no one else is signed in."""
    await rig.sessions.revoke_all(None)
    rig.auditor.entries.clear()
    rig.events.clear()
    async with browser(rig.url) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def other(rig: WebRig) -> AsyncIterator[Browser]:
    async with browser(rig.url) as opened:
        yield opened


class TestPages:
    async def test_shell_and_files_are_served_with_the_headers(self, page: Browser) -> None:
        shell = await page.get("/")
        assert (shell.status, shell.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'none'" in shell.headers["Content-Security-Policy"]
        assert shell.headers["Cache-Control"] == "no-cache"
        assert (await page.get("/", If_None_Match=shell.headers["ETag"])).status == 304
        assert (await page.request("HEAD", "/")).status == 200
        assert "aiohttp" not in shell.headers["Server"]

    @pytest.mark.parametrize(
        "path", ["/static/", "/static", "/static/../server.py", "/static/%2e%2e/server.py", "/.git/config", "/api/none"]
    )
    async def test_no_other_file_is_served(self, page: Browser, path: str) -> None:
        reply = await page.get(path)
        assert reply.status == 404
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["Cache-Control"] == "no-store"

    async def test_other_methods_are_refused(self, page: Browser) -> None:
        assert (await page.request("PUT", "/api/me")).status == 405
        assert (await page.request("TRACE", "/")).status == 405
        assert (await page.get("/api/sign-out")).status == 405

    @pytest.mark.parametrize(
        "data",
        [
            b"GARBAGE\r\n\r\n",
            b"\x16\x03\x01\x00",
            b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: b\x00\r\n\r\n",
        ],
    )
    async def test_what_is_not_http_costs_no_traceback(
        self, rig: WebRig, data: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(rig.url.rpartition(":")[2]))
        with caplog.at_level(logging.INFO):
            writer.write(data)
            assert b" 400 " in await reader.readline()
        writer.close()
        assert not [record for record in caplog.records if record.exc_info]


class TestChanges:
    async def test_change_needs_origin_and_token(self, page: Browser) -> None:
        await page.sign_in(BOB)
        for headers, status in (
            ({"Origin": None}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://evil.example"}, 403),
            ({"Sec_Fetch_Site": "cross-site"}, 403),
            ({"X_CSRF_Token": None}, 403),
            ({"X_CSRF_Token": "x"}, 403),
            ({"X_CSRF_Token": "é"}, 403),
        ):
            reply = await page.post("/api/sign-out", json={}, **headers)  # type: ignore[arg-type]
            assert (reply.status, "error" in reply.json) == (status, True), headers
        assert await page.me()
        assert (await page.post("/api/sign-out", json={})).status == 204
        assert (await page.post("/api/sign-out", json={})).status == 401

    async def test_token_of_another_session_is_refused(self, page: Browser, other: Browser) -> None:
        await page.sign_in(BOB)
        await other.sign_in(BOB)
        assert (await page.post("/api/ticket", X_CSRF_Token=other.csrf)).status == 403

    async def test_body_is_bounded_and_must_be_an_object(self, page: Browser) -> None:
        await page.sign_in(BOB)
        assert (await page.post("/api/sign-out", json={"x": "y" * 20_000})).status == 413
        for body in ([], "x", 1, {"everywhere": "yes"}):
            assert (await page.post("/api/sign-out", json=body)).status == 400
        assert await page.me()

    async def test_page_of_another_site_reads_nothing(self, page: Browser) -> None:
        await page.sign_in(BOB)
        reply = await page.get("/api/me", Sec_Fetch_Site="cross-site", Origin="http://evil.example")
        assert reply.status == 403
        assert "Access-Control-Allow-Origin" not in reply.headers


class TestEnding:
    async def test_sign_out_ends_this_session_only(self, page: Browser, other: Browser, rig: WebRig) -> None:
        await page.sign_in(BOB)
        await other.sign_in(BOB)
        text = page.cookie()
        done = await page.post("/api/sign-out", json={"everywhere": False})
        assert done.status == 204
        assert page.cookie() == ""
        page.set_cookie(text)
        assert await page.me() is None, "a stolen cookie is of no use"
        assert await other.me()
        assert rig.audited("session.end") == [("success", BOB, "signed out")]

    async def test_sign_out_everywhere(self, page: Browser, other: Browser, rig: WebRig) -> None:
        await page.sign_in(BOB)
        await other.sign_in(BOB)
        assert (await page.post("/api/sign-out", json={"everywhere": True})).status == 204
        assert await other.me() is None
        ended = [event for event in rig.events if isinstance(event, SessionEnded)]
        assert [(event.user, event.reason) for event in ended] == [(BOB, "signed out everywhere")] * 2

    async def test_link_signed_out_everywhere_ends_alone(self, page: Browser, other: Browser, rig: WebRig) -> None:
        """It is no person: other links are not its own."""
        for each in (page, other):
            token = await rig.sessions.create_link("viewer", timedelta(minutes=1))
            assert (await each.post(f"/auth/link/{token}")).status == 303
            assert await each.me()
        refused = await page.post("/api/sign-out", json={"everywhere": "no"})
        assert (refused.status, refused.json["message"]) == (400, "everywhere must be true or false.")
        assert (await page.post("/api/sign-out", json={"everywhere": True})).status == 204
        assert await page.me() is None
        assert await other.me()

    async def test_own_sessions_are_listed_and_can_be_ended(self, page: Browser, other: Browser) -> None:
        await page.sign_in(BOB)
        await other.sign_in(BOB)
        listed = (await page.get("/api/sessions")).json
        assert [(each["current"], each["source"], each["address"]) for each in listed] == [
            (False, "discord", "127.0.0.1"),
            (True, "discord", "127.0.0.1"),
        ]
        assert (await page.post(f"/api/sessions/{listed[0]['id']}/end", json={"reason": "lost phone"})).status == 204
        assert await other.me() is None
        assert (await page.post(f"/api/sessions/{listed[0]['id']}/end")).status == 403, "no one else may try ids"
        assert (await page.post(f"/api/sessions/{listed[1]['id']}/end")).status == 204
        assert page.cookie() == ""

    async def test_sessions_of_others_need_the_permission(self, page: Browser, other: Browser, rig: WebRig) -> None:
        await page.sign_in(BOB)
        await other.sign_in(CAT)
        (theirs,) = await rig.sessions.list(CAT)
        assert (await page.get("/api/sessions?all=1")).status == 403
        assert (await page.post(f"/api/sessions/{theirs.id}/end")).status == 403
        await rig.grants.grant("admin", Holder(HolderType.USER, BOB), reason="test")
        await until(lambda: rig.access.decide(theirs.requester(), "sessions:admin").allowed is False)
        await until(lambda: any(grant.role == "admin" and grant.holder.id == BOB for grant in rig.access.rules.grants))
        try:
            await page.me()
            listed = (await page.get("/api/sessions?all=1")).json
            assert {each["user"] for each in listed} == {BOB, CAT}
            assert "csrf" not in json.dumps(listed)
            ended = await page.post(f"/api/sessions/{theirs.id}/end", json={"reason": "spam"})
            assert ended.status == 204
            assert (await page.post(f"/api/sessions/{theirs.id}/end")).status == 404
            assert await other.me() is None
            assert rig.audited("session.end") == [("success", BOB, "spam")]
        finally:
            await rig.grants.revoke("admin", Holder(HolderType.USER, BOB), reason="test")

    async def test_session_ends_on_every_process(
        self, page: Browser, rig: WebRig, shared: Redis, discord: Discord, tmp_path: Path
    ) -> None:
        await page.sign_in(ANN)
        async with serving_web(shared, tmp_path, discord.url) as second, browser(second.url) as twin:
            twin.set_cookie(page.cookie())
            assert (await twin.me())["user"]["id"] == ANN
            await rig.sessions.revoke_all(ANN, reason="test")
            assert await twin.me() is None
            assert twin.cookie() == "", "the browser forgets what opens nothing"

    async def test_admin_of_a_guild_is_no_admin_of_sessions(self, page: Browser, other: Browser, rig: WebRig) -> None:
        """The Discord role of one guild gives nothing for the bot."""
        await page.sign_in(ANN)
        await other.sign_in(CAT)
        me = await page.me()
        assert "sessions:admin" in me["guilds"][0]["permissions"]
        assert (await page.get("/api/sessions?all=1")).status == 403
        (theirs,) = await rig.sessions.list(CAT)
        assert (await page.post(f"/api/sessions/{theirs.id}/end")).status == 403
        assert await other.me()


class TestRights:
    async def test_granted_and_revoked_role_renews_the_cookie(self, page: Browser, rig: WebRig) -> None:
        await page.sign_in(CAT)
        holder, old = Holder(HolderType.USER, CAT), page.cookie()
        await rig.grants.grant("viewer", holder, reason="test")
        await until(lambda: any(grant.holder == holder for grant in rig.access.rules.grants))
        me = await page.get("/api/me")
        assert "jobs:read" in me.json["permissions"]
        assert page.cookie() not in ("", old)
        assert [type(event) for event in rig.events if isinstance(event, SessionChanged)] == [SessionChanged]
        new = page.cookie()
        await rig.grants.revoke("viewer", holder, reason="test")
        await until(lambda: not any(grant.holder == holder for grant in rig.access.rules.grants))
        assert (await page.me())["permissions"] == []
        assert page.cookie() != new

    async def test_requests_of_one_page_survive_a_renewal(self, page: Browser, rig: WebRig) -> None:
        await page.sign_in(CAT)
        holder = Holder(HolderType.USER, CAT)
        await rig.grants.grant("viewer", holder, reason="test")
        try:
            await until(lambda: any(grant.holder == holder for grant in rig.access.rules.grants))
            replies = await asyncio.gather(*(page.get("/api/me") for _ in range(8)))
            assert [reply.status for reply in replies] == [200] * 8
            assert sum(bool(reply.cookies) for reply in replies) == 1
            assert await page.me()
        finally:
            await rig.grants.revoke("viewer", holder, reason="test")

    async def test_role_that_was_lost_at_discord_counts_at_once_where_the_bot_hears_of_it(
        self, page: Browser, rig: WebRig, discord: Discord
    ) -> None:
        await page.sign_in(BOB)
        assert (await page.me())["guilds"][0]["permissions"]

        def prepare(bot: object) -> None:
            watch_member_changes(bot, rig.access, rig.bus.publish)  # type: ignore[arg-type]

        async with discord.bot(prepare, intents=disnake.Intents(INTENTS)) as bot:
            await until(lambda: bot.guilds[0].get_member(int(BOB)) is not None)
            await discord.rest("DELETE", f"/guilds/{GUILD}/members/{BOB}/roles/{MODERATOR}")
            await until(lambda: MemberRolesChanged(guild=GUILD, user=BOB) in rig.events, what="the bot to hear of it")
            try:
                await until(self._has_lost(page), what="the page to know it")
                assert (await page.me())["roles"] == []
            finally:
                await discord.rest("PUT", f"/guilds/{GUILD}/members/{BOB}/roles/{MODERATOR}")

    @staticmethod
    def _has_lost(page: Browser) -> object:
        async def check() -> bool:
            return not (await page.me())["guilds"][0]["permissions"]

        return check

    async def test_banned_person_has_no_roles_after_the_next_check(
        self, shared: Redis, discord: Discord, tmp_path: Path
    ) -> None:
        options = {"recheck_s": 5}
        clock = ManualClock()
        async with (
            serving_web(shared, tmp_path, discord.url, auth=options, clock=clock) as rig,
            browser(rig.url) as page,
        ):
            await page.sign_in(BOB)
            assert (await page.me())["roles"]
            members = discord.sandbox.world.guilds[GUILD].members
            bob = members[BOB]
            status, _ = await discord.rest("PUT", f"/guilds/{GUILD}/bans/{BOB}", json={})
            assert status == 204
            try:
                before = (await page.me())["checked_at"]
                clock.advance(5)
                me = await page.me()
                assert (me["roles"], me["guilds"][0]["permissions"]) == ([], [])
                assert me["checked_at"] > before
            finally:
                await discord.rest("DELETE", f"/guilds/{GUILD}/bans/{BOB}")
                members[BOB] = bob

    async def test_stranger_is_told_whose_page_it_is_and_nothing_else(self, page: Browser) -> None:
        reply = await page.get("/api/site")
        assert (reply.status, reply.json) == (200, {"bot": "bot"})
        assert reply.cookies == []
        for path in ("me", "permissions", "explain?need=jobs:run", "sessions", "audit"):
            assert (await page.get(f"/api/{path}")).status == 401, path

    async def test_explanation_has_the_steps(self, page: Browser) -> None:
        await page.sign_in(BOB)
        told = (await page.get(f"/api/explain?need=jobs:read&guild={GUILD}")).json
        assert told["allowed"]
        assert told["lines"][0] == f"bob may do jobs:read in guild {GUILD}."
        assert told["lines"][1].startswith("yes: moderator to members with the Discord role")
        assert not (await page.get("/api/explain?need=jobs:read")).json["allowed"]
        for query in ("", "need=x", "need=jobs:read&guild=x", "need=jobs:read&guild="):
            assert (await page.get(f"/api/explain?{query}")).status == 400
        for need, sentence in (("jobs:rum", "did you mean jobs:run?"), ("/ops%20stats", "did you mean ops status?")):
            assert sentence in (await page.get(f"/api/explain?need={need}")).json["message"]
        assert (await page.get("/api/permissions")).json == dict(PERMISSIONS)

    async def test_command_is_explained_as_in_its_guild(self, page: Browser, rig: WebRig) -> None:
        async def told(name: str, guild: str = f"&guild={GUILD}") -> tuple[bool, str]:
            reply = (await page.get(f"/api/explain?need={name}{guild}")).json
            return reply["allowed"], " ".join(reply["lines"])

        await page.sign_in(BOB)
        allowed, lines = await told("/ops%20status")
        assert allowed
        assert lines.startswith(
            f"bob may use ops status, which needs the role admin or moderator, in guild {GUILD}. yes:"
        )
        allowed, lines = await told("/ops%20status", "")  # for the bot Discord roles do not count
        assert not allowed
        assert "To allow it, grant" in lines
        assert await told("ping", "") == (True, "bob may use ping. yes: it asks for no role")
        await rig.guilds.update(GUILD, {"disabled": "ping"}, actor="cli")
        try:
            allowed, lines = await told("/ping")
            assert not allowed
            assert "switch it off" in lines
        finally:
            await rig.guilds.update(GUILD, {"disabled": None}, actor="cli")

    async def test_ticket_is_the_session_for_the_realtime_server(self, page: Browser, rig: WebRig) -> None:
        await page.sign_in(BOB)
        reply = (await page.post("/api/ticket")).json
        assert reply["expires_s"] == 30
        session = await rig.sessions.redeem(reply["ticket"])
        assert session is not None
        assert (session.user, session.principal().auth) == (BOB, session.id)
        assert await rig.sessions.redeem(reply["ticket"]) is None


class TestAudit:
    @pytest_asyncio.fixture(loop_scope="module", autouse=True)
    async def _entries(self, database: MemoryDatabase, rig: WebRig) -> None:
        """Ten entries of one guild and one of another, two of them at the same millisecond."""
        await database[AUDIT].delete_many({})
        for number in range(11):
            at = datetime(2026, 1, 1, 12, number // 2, tzinfo=UTC)
            guild = OTHER_GUILD if number == 10 else GUILD
            entry = make_entry(f"test.{number}", Principal("user", ANN, "ann"), at=at, iface="discord", guild=guild)
            line = encode_line(entry)
            fields = {"action": entry.action, "actor": ANN, "name": "ann", "guild": guild, "outcome": "success"}
            at_ms = round(at.timestamp() * 1000)
            document = {"_id": entry.id, "at": at_ms, "b": line, "w": {"at": at_ms}}
            await database[AUDIT].insert_one(document | {"x": [fields | {"at": json.loads(line)["at"]}]})

    async def test_who_may_read_one_guild_reads_that_guild_only(self, page: Browser) -> None:
        await page.sign_in(ANN)
        assert (await page.get("/api/audit")).status == 403
        assert (await page.get(f"/api/audit?guild={OTHER_GUILD}")).status == 403
        entries = (await page.get(f"/api/audit?guild={GUILD}")).json["entries"]
        assert {entry["action"] for entry in entries} == {f"test.{number}" for number in range(10)}
        times = [entry["at"] for entry in entries]
        assert times == sorted(times, reverse=True)
        assert {entry["guild"] for entry in entries} == {GUILD}

    async def test_pages_follow_each_other_without_holes(self, page: Browser, rig: WebRig) -> None:
        await page.post(f"/auth/link/{await rig.sessions.create_link('operator', timedelta(minutes=1))}")
        seen, query = [], "limit=3"
        while True:
            answer = (await page.get(f"/api/audit?{query}")).json
            seen += [entry["action"] for entry in answer["entries"]]
            assert len(answer["entries"]) <= 3
            if answer["next"] is None:
                break
            query = f"limit=3&before={answer['next']}"
        assert sorted(seen) == sorted(f"test.{n}" for n in range(11))
        assert len(seen) == 11

    async def test_filters(self, page: Browser, rig: WebRig) -> None:
        await page.post(f"/auth/link/{await rig.sessions.create_link('operator', timedelta(minutes=1))}")
        for query, count in (
            ("action=test.1*", 2),
            ("actor=ann", 11),
            ("actor=bob", 0),
            ("outcome=denied", 0),
            ("since=2026-01-01T12:05", 1),
            ("until=2026-01-01T12:01", 2),
            (f"guild={OTHER_GUILD}", 1),
        ):
            assert len((await page.get(f"/api/audit?{query}")).json["entries"]) == count, query
        for query in (
            "limit=0",
            "limit=x",
            "limit=201",
            "limit=0000019999999",
            "outcome=x",
            "since=x",
            "before=x",
            "before=1",
            "actor=" + "a" * 300,
        ):
            assert (await page.get(f"/api/audit?{query}")).status == 400, query


class TestOutage:
    async def test_without_redis_a_request_gets_a_sentence_and_the_page_is_there(
        self, discord: Discord, tmp_path: Path
    ) -> None:
        own = tmp_path / "redis"
        own.mkdir()
        with server(embedded_redis.PART, own) as store:
            async with (
                connect(store.url, timeout_s=expires(0.5)) as redis,
                serving_web(redis, tmp_path, discord.url) as rig,
                browser(rig.url) as page,
            ):
                await page.sign_in(BOB)
                store.kill()
                for path in ("/api/me", "/auth/login"):
                    failed = await page.get(path)
                    assert failed.status == 503, failed.text
                    assert "Redis failed" in failed.text
                    assert failed.headers["Retry-After"] == "5"
                assert (await page.get("/")).status == 200
                assert page.cookie(), "the session may be there when Redis is back"
                store.start()
                await until(self._is_back(page), limit_s=LIMIT_S, what="Redis to answer again")

    @staticmethod
    def _is_back(page: Browser) -> object:
        async def check() -> bool:
            return (await page.get("/api/me")).status in (200, 401)

        return check


async def test_port_of_another_program_is_named(rig: WebRig, shared: Redis, discord: Discord, tmp_path: Path) -> None:
    port = int(rig.url.rpartition(":")[2])
    with pytest.raises(Held, match=r"The web page cannot listen on 127\.0\.0\.1 port \d+: address already in use"):
        async with serving_web(shared, tmp_path, discord.url, port=port):
            pass


async def test_address_is_published_and_gone_after_the_stop(shared: Redis, discord: Discord, tmp_path: Path) -> None:
    async with serving_web(shared, tmp_path, discord.url) as rig:
        assert Runtime(tmp_path).live()["web"].address == rig.url
    assert "web" not in Runtime(tmp_path).live()


async def test_process_without_commands_says_where_they_are_explained(
    shared: Redis, discord: Discord, tmp_path: Path
) -> None:
    async with (
        serving_web(shared, tmp_path, discord.url, commands=KnownCommands()) as rig,
        browser(rig.url) as page,
    ):
        await page.post(f"/auth/link/{await rig.sessions.create_link('viewer', timedelta(minutes=1))}")
        reply = await page.get("/api/explain?need=/ops%20status")
        assert reply.status == 400
        assert '/ops status is a command. `botctl auth explain WHO "/ops status"`' in reply.json["message"]
        assert (await page.get("/api/explain?need=jobs:read")).json["allowed"]


async def test_on_https_the_cookie_is_secure_and_bound_to_the_host(
    shared: Redis, discord: Discord, tmp_path: Path
) -> None:
    cert, key = make_certificate(tmp_path / "tls")
    name = "__Host-botctl-bot"
    async with (
        serving_web(shared, tmp_path, discord.url, tls_cert=str(cert), tls_key=str(key)) as rig,
        browser(rig.url, cookie_name=name, trusted=cert) as page,
    ):
        assert rig.url.startswith("https://127.0.0.1:")
        done = await page.sign_in(BOB)
        (session,) = [cookie for cookie in done.cookies if cookie.startswith(f"{name}=")]
        for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert part in session
        assert (await page.me())["user"]["id"] == BOB
        assert (await page.post("/api/ticket")).status == 200
        assert (await page.post("/api/sign-out", Origin=rig.url.replace("https", "http"))).status == 403
        assert (await page.post("/api/sign-out")).status == 204
        assert page.cookie() == ""
