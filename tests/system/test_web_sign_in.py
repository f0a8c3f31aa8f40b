"""Sign in to the web page with the sandbox's Discord, over real sockets; and attacks on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from yarl import URL

from botctl.core.contracts.permissions import BUILT_IN_ROLES
from tests.support.discord import ADMIN, ANN, BOB, BOT, CAT, GUILD, Discord, local_discord
from tests.support.stores import clean_redis
from tests.support.web import COOKIE, Browser, WebRig, answer_consent, browser, serving_web

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(redis_server: str, discord: Discord, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebRig]:
    root: Path = tmp_path_factory.mktemp("web")
    async with clean_redis(redis_server) as redis, serving_web(redis, root, discord.url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(rig: WebRig) -> AsyncIterator[Browser]:
    rig.auditor.entries.clear()
    async with browser(rig.url) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def other(rig: WebRig) -> AsyncIterator[Browser]:
    """The browser of someone else."""
    async with browser(rig.url) as opened:
        yield opened


async def test_person_signs_in_and_sees_roles_with_reasons(page: Browser, rig: WebRig) -> None:
    assert await page.me() is None
    done = await page.sign_in(ANN, to="/jobs")
    assert (done.status, done.headers["Location"]) == (303, "/jobs")
    me = await page.me()
    assert (me["user"], me["source"], me["bot"]) == ({"id": ANN, "name": "ann"}, "discord", "bot")
    assert me["permissions"] == []
    assert [(role["role"], role["guild"]) for role in me["roles"]] == [("admin", GUILD), ("moderator", GUILD)]
    assert me["roles"][0]["steps"] == [f"yes: admin to members with the Discord role {ADMIN}, by the settings"]
    (guild,) = me["guilds"]
    assert guild == {"id": GUILD, "permissions": sorted(BUILT_IN_ROLES["admin"])}
    assert rig.audited("session.begin") == [("success", ANN, None)]


async def test_person_without_roles_signs_in_and_may_nothing(page: Browser) -> None:
    await page.sign_in(CAT)
    me = await page.me()
    assert (me["user"]["name"], me["roles"], me["permissions"]) == ("cat", [], [])
    assert [guild["permissions"] for guild in me["guilds"]] == [[]]
    assert (await page.get(f"/api/audit?guild={GUILD}")).status == 403


async def test_consent_asks_for_the_name_only_and_the_token_ends(page: Browser, discord: Discord) -> None:
    began = await page.get("/auth/login")
    assert began.location.query["scope"] == "identify"
    assert began.location.query["redirect_uri"] == f"{page.url}/auth/callback"
    assert began.location.query["code_challenge_method"] == "S256"
    assert began.location.origin() == URL(discord.url).origin()
    await page.sign_in(BOB)
    assert not [grant for grant in discord.sandbox.grants._by_token.values() if grant.user_id == BOB]


async def test_cookie_is_hidden_from_scripts_and_other_sites(page: Browser) -> None:
    done = await page.sign_in(BOB)
    (session,) = [cookie for cookie in done.cookies if cookie.startswith(COOKIE)]
    parts = {part.strip().split("=")[0] for part in session.split(";")}
    assert {"HttpOnly", "SameSite", "Path", "Max-Age"} <= parts
    assert "Domain" not in parts
    assert "SameSite=Lax" in session
    assert len(page.cookie()) == 43


async def test_state_can_be_used_once(page: Browser, rig: WebRig) -> None:
    back = await page.consent(BOB)
    assert (await page.get(str(back))).status == 303
    before = page.cookie()
    again = await page.get(str(back))
    assert again.status == 400
    assert "used already" in again.text
    assert page.cookie() == before
    assert rig.audited("session.begin")[-1][:2] == ("denied", "127.0.0.1")


async def test_foreign_state_signs_no_one_in(page: Browser, other: Browser) -> None:
    """Login CSRF: someone sends the victim the end of their own sign-in."""
    back = await other.consent(BOB)
    await page.get("/auth/login")
    refused = await page.get(str(back), Sec_Fetch_Site="cross-site")
    assert refused.status == 400
    assert await page.me() is None
    assert (await other.get(str(back))).status == 400, "and it is used up"


@pytest.mark.parametrize("state", ["", "A" * 43, "é", "a b", "../x"])
async def test_unknown_state_is_refused(page: Browser, state: str) -> None:
    await page.get("/auth/login")
    refused = await page.get(str(URL("/auth/callback").with_query(code="c", state=state)))
    assert refused.status == 400
    assert await page.me() is None


async def test_stolen_code_is_of_no_use(page: Browser, other: Browser) -> None:
    """Code injection: an attacker puts a victim's code into their own sign-in. PKCE binds it to the victim's."""
    stolen = (await page.consent(ANN)).query["code"]
    mine = await other.consent(CAT)
    refused = await other.get(str(mine.update_query(code=stolen)))
    assert refused.status == 400
    assert "Discord did not accept" in refused.text
    assert await other.me() is None


async def test_person_who_declines_at_discord_is_told(page: Browser, rig: WebRig) -> None:
    began = await page.get("/auth/login")
    back = await answer_consent(page.http, began.location, BOB, "deny")
    declined = await page.get(str(back))
    assert declined.status == 400
    assert "You declined the sign-in at Discord." in declined.text
    assert 'href="/auth/login"' in declined.text
    assert rig.audited("session.begin") == [("denied", "127.0.0.1", "You declined the sign-in at Discord.")]


async def test_text_of_the_query_is_not_shown(page: Browser) -> None:
    attack = "<script>alert(1)</script>"
    url = URL("/auth/callback").with_query(error=attack, error_description=attack, state=attack)
    assert "script>" not in (await page.get(str(url))).text
    for path in (f"/{attack}", "/auth/link/%3Cscript%3E"):
        reply = await page.get(path)
        assert reply.status == 404
        assert "<script" not in reply.text
    reply = await page.post(f"/auth/link/{'A' * 43}", Origin=f"http://{attack}")
    assert (reply.status, "script&gt;" in reply.text, "<script" in reply.text) == (403, True, False)


@pytest.mark.parametrize(
    "to", ["//evil.example", "https://evil.example", "/%5Cevil.example", "/%0d%0aSet-Cookie:%20a=b"]
)
async def test_sign_in_leads_to_the_page_only(page: Browser, to: str) -> None:
    done = await page.sign_in(BOB, to=to)
    assert (done.status, done.headers["Location"]) == (303, "/")
    assert "a=b" not in str(done.cookies)


async def test_signing_in_ends_the_session_that_the_browser_had(page: Browser, rig: WebRig) -> None:
    """Session fixation: what a browser had before is not what it has afterwards."""
    await page.sign_in(CAT)
    planted = page.cookie()
    await page.sign_in(ANN)
    assert page.cookie() != planted
    page.set_cookie(planted)
    assert await page.me() is None
    assert rig.audited("session.end") == [("success", ANN, "signed in again")]


async def test_planted_text_is_never_taken_over(page: Browser) -> None:
    page.set_cookie("A" * 43)
    await page.sign_in(CAT)
    assert page.cookie() != "A" * 43


async def test_damaged_cookies_are_no_session(page: Browser) -> None:
    for value in ("x", "é", "A" * 5000, "a;b", "'"):
        reply = await page.get("/api/me", Cookie=f"{COOKIE}={value}")
        assert reply.status in (400, 401)


async def test_other_host_name_is_sent_to_the_one_of_the_page(page: Browser) -> None:
    """The cookie that begins a sign-in is bound to the host name to which Discord comes back."""
    port = URL(page.url).port
    reply = await page.get("/auth/login?to=/jobs", Host=f"localhost:{port}")
    assert (reply.status, reply.headers["Location"]) == (302, f"{page.url}/auth/login?to=%2Fjobs")
    assert (await page.get("/", Host="evil.example")).status == 421


async def test_name_of_a_person_cannot_break_out(page: Browser, discord: Discord, rig: WebRig) -> None:
    user = discord.sandbox.world.users[CAT]
    before, user.name = user.name, '"><script>\r\nSet-Cookie: a=b</script>'
    try:
        await page.sign_in(CAT)
        me = await page.get("/api/me")
        assert me.json["user"]["name"] == user.name
        assert me.headers["Content-Type"] == "application/json"
        assert me.headers["X-Content-Type-Options"] == "nosniff"
        assert (await rig.sessions.list(CAT))[0].name == user.name
    finally:
        user.name = before


async def test_browser_may_call_itself_anything(page: Browser, rig: WebRig) -> None:
    back = await page.consent(CAT)
    agent = "\udcff\udc80 <b>" + "é" * 300
    assert (await page.get(str(back), User_Agent=agent)).status == 303
    assert (await page.me())["user"]["id"] == CAT
    assert len((await rig.sessions.list(CAT))[0].user_agent) == 200


async def test_link_signs_in_once_and_looking_at_it_uses_nothing_up(page: Browser, other: Browser, rig: WebRig) -> None:
    token = await rig.sessions.create_link("operator", timedelta(minutes=10))
    path = f"/auth/link/{token}"
    for _ in range(2):
        shown = await page.get(path, Sec_Fetch_Site="none")
        assert shown.status == 200
        assert f'action="{path}"' in shown.text
        assert "signs you in to bot as operator, once, until " in shown.text
    assert (await other.post(path, Origin="http://evil.example")).status == 403
    opened = await page.post(path, X_CSRF_Token=None)
    assert (opened.status, opened.headers["Location"]) == (303, "/")
    me = await page.me()
    assert (me["source"], me["user"]["id"], me["checked_at"]) == ("link", "", None)
    assert me["permissions"] == sorted(BUILT_IN_ROLES["operator"])
    assert "by a one-time link from" in me["roles"][0]["steps"][0]
    assert "used already" in (await other.post(path)).text
    ended = await other.get(path, Sec_Fetch_Site="none")  # says so before anything is clicked
    assert (ended.status, "used already" in ended.text, "<form" in ended.text) == (410, True, False)
    assert await other.me() is None
    (entry,) = [each for each in rig.auditor.entries if each.action == "session.begin" and each.outcome == "success"]
    assert [change.k for change in entry.changes or ()] == ["source", "link", "role"]


async def test_discord_that_is_down_is_named_and_a_link_still_works(
    page: Browser, discord: Discord, rig: WebRig
) -> None:
    back = await page.consent(ANN)
    incidents = discord.running.incidents
    await incidents.start("http-5xx", path="/oauth2/token")
    try:
        failed = await page.get(str(back))
        assert failed.status == 503
        assert "botctl auth link" in failed.text
        assert await page.me() is None
        await page.post(f"/auth/link/{await rig.sessions.create_link('viewer', timedelta(minutes=1))}")
        assert (await page.me())["source"] == "link"
    finally:
        await incidents.stop("http-5xx")


async def test_flood_of_sign_ins_is_limited_by_address(redis_server: str, discord: Discord, tmp_path: Path) -> None:
    limits = {"sign_in_throttle": "1/10m burst 3 per address", "trusted_proxies": ("127.0.0.1",)}
    async with (
        clean_redis(redis_server) as redis,
        serving_web(redis, tmp_path, discord.url, **limits) as rig,
        browser(rig.url) as page,
    ):
        replies = [await page.get("/auth/login", X_Forwarded_For="192.0.2.1") for _ in range(4)]
        assert [reply.status for reply in replies] == [302, 302, 302, 429]
        assert int(replies[3].headers["Retry-After"]) > 500
        assert replies[3].headers["RateLimit"].startswith('"web.sign-in"')
        for path in ("/auth/callback?code=a&state=b", "/auth/login"):
            assert (await page.get(path, X_Forwarded_For="192.0.2.1")).status == 429
        assert (await page.post(f"/auth/link/{'A' * 43}", X_Forwarded_For="192.0.2.1")).status == 429
        assert (await page.get("/auth/login", X_Forwarded_For="192.0.2.2")).status == 302
        assert (await page.get("/api/me", X_Forwarded_For="192.0.2.1")).status == 401


async def test_two_sign_ins_in_one_browser_do_not_disturb_each_other(page: Browser) -> None:
    """One after the other: to revoke a token ends all of the same person and application at Discord."""
    first, second = await page.consent(BOB, to="/a"), await page.consent(BOB, to="/b")
    replies = [await page.get(str(second)), await page.get(str(first))]
    assert [reply.headers.get("Location") for reply in replies] == ["/b", "/a"]
    assert await page.me()


async def test_application_of_the_sandbox_is_used(page: Browser) -> None:
    assert (await page.get("/auth/login")).location.query["client_id"] == BOT
