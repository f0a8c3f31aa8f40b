"""OAuth2 for web applications: consent page, codes, tokens, scopes, expiry."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from botctl.sandbox.model.oauth import s256_challenge
from botctl.sandbox.model.tokens import client_secret
from tests.support.discord import ANN, BOB, BOT, CAT, GUILD, SECRET, Discord, local_discord

REDIRECT_URI = "http://localhost:4000/callback?a=1"
CLIENT = {"client_id": BOT, "client_secret": client_secret(SECRET, BOT)}


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as discord:
        yield discord


async def request_page(
    discord: Discord, method: str = "GET", headers: dict[str, str] | None = None, **fields: str
) -> Any:
    """Status, text and redirect of the consent page."""
    fields = {"client_id": BOT, "redirect_uri": REDIRECT_URI, "scope": "identify", "state": "s&1", **fields}
    arguments: dict[str, Any] = {"params": fields} if method == "GET" else {"data": fields}
    url = f"{discord.url}/oauth2/authorize"
    async with discord.http.request(method, url, allow_redirects=False, headers=headers, **arguments) as response:
        location = response.headers.get("Location")
        return response.status, await response.text(), URL(location) if location else None


async def give_consent(discord: Discord, person: str = BOB, **fields: str) -> dict[str, str]:
    """The query that the application gets when the person consents."""
    status, text, redirect = await request_page(discord, "POST", person=person, answer="allow", **fields)
    assert status == 302, text
    assert str(redirect).startswith("http://localhost:4000/callback?a=1&")
    return dict(redirect.query)


async def request_token(discord: Discord, headers: dict[str, str] | None = None, **fields: str) -> tuple[int, Any]:
    form = fields if headers else {**CLIENT, **fields}
    async with discord.http.post(f"{discord.url}/api/oauth2/token", data=form, headers=headers) as response:
        return response.status, await response.json()


async def log_in(discord: Discord, person: str = BOB, **fields: str) -> dict[str, Any]:
    code = (await give_consent(discord, person, **fields))["code"]
    status, issued = await request_token(discord, grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI)
    assert status == 200, issued
    return issued


async def get(discord: Discord, path: str, access: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {access}"}
    async with discord.http.get(f"{discord.url}/api/v10{path}", headers=headers) as response:
        return response.status, await response.json()


async def test_page_shows_the_request_and_escapes_its_input(discord: Discord) -> None:
    status, text, _ = await request_page(discord, scope="identify guilds bot", state='"><script>')
    assert status == 200
    for expected in (
        "botctl-bot wants to",
        "see your name",
        "join a server",
        "Botctl Test Guild",
        "localhost:4000",
    ):
        assert expected in text
    assert [name in text for name in (">ann<", ">bob<", ">cat<", ">botctl-bot<")] == [True, True, True, False]
    assert "<script>" not in text


async def test_person_logs_in_to_an_application(discord: Discord) -> None:
    query = await give_consent(discord)
    assert query["state"] == "s&1"
    issued = await log_in(discord, scope="identify email")
    assert (issued["token_type"], issued["expires_in"], issued["scope"]) == ("Bearer", 604800, "identify email")
    _, me = await get(discord, "/users/@me", issued["access_token"])
    assert (me["id"], me["username"], me["email"]) == (BOB, "bob", "bob@example.com")
    _, authorization = await get(discord, "/oauth2/@me", issued["access_token"])
    assert (authorization["application"]["id"], authorization["user"]["id"], authorization["scopes"]) == (
        BOT,
        BOB,
        ["identify", "email"],
    )


async def test_scope_allows_only_its_own_routes(discord: Discord) -> None:
    access = (await log_in(discord, scope="guilds guilds.members.read"))["access_token"]
    _, guilds = await get(discord, "/users/@me/guilds", access)
    assert [(guild["id"], guild["owner"]) for guild in guilds] == [(GUILD, False)]
    _, member = await get(discord, f"/users/@me/guilds/{GUILD}/member", access)
    assert member["user"]["id"] == BOB
    status, error = await get(discord, "/users/@me", access)
    assert (status, error["code"]) == (403, 50026)
    assert (await get(discord, f"/guilds/{GUILD}", access))[0] == 401
    assert (await get(discord, f"/users/@me/guilds/{GUILD}/member", "none"))[0] == 401
    assert (await get(discord, "/users/@me/guilds/1/member", access))[1]["code"] == 10004
    assert "user" not in (await get(discord, "/oauth2/@me", access))[1]


async def test_errors_on_the_page_redirect_to_the_application(discord: Discord) -> None:
    _, _, redirect = await request_page(discord, "POST", person=ANN, answer="deny")
    assert (redirect.query["error"], redirect.query["state"]) == ("access_denied", "s&1")
    _, _, redirect = await request_page(discord, scope="identify rule.the.world")
    assert redirect.query["error"] == "invalid_scope"
    _, _, redirect = await request_page(discord, code_challenge="x", code_challenge_method="plain")
    assert redirect.query["error"] == "invalid_request"
    _, _, redirect = await request_page(discord, response_type="token")
    assert redirect.query["error"] == "unsupported_response_type"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"client_id": "1"}, "no application with the id"),
        ({"redirect_uri": "https://evil.example/"}, "not a redirect URI"),
        ({"redirect_uri": "http://[/"}, "not a redirect URI"),
        ({"redirect_uri": ""}, "neither a redirect_uri nor the scope bot"),
    ],
)
async def test_page_never_redirects_to_an_unregistered_uri(
    discord: Discord, fields: dict[str, str], sentence: str
) -> None:
    for method in ("GET", "POST"):
        status, text, redirect = await request_page(discord, method, person=ANN, answer="allow", **fields)
        assert (status, redirect) == (400, None)
        assert sentence in text


async def test_application_can_register_redirect_uris(discord: Discord) -> None:
    await discord.act("world", set_redirects={"uris": ["https://app.example/in"]})
    assert (await request_page(discord))[0] == 400
    assert (await request_page(discord, redirect_uri="https://app.example/in"))[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://[", "{url}1", "{url}/", "https{rest}"])
async def test_cross_origin_consent_is_rejected(discord: Discord, origin: str) -> None:
    origin = origin.format(url=discord.url, rest=discord.url.removeprefix("http"))
    status, _, redirect = await request_page(discord, "POST", {"Origin": origin}, person=ANN, answer="allow")
    assert (status, redirect) == (403, None)


async def test_browser_sends_its_origin_with_the_consent(discord: Discord) -> None:
    """With the policy no-referrer it would send null."""
    async with discord.http.get(f"{discord.url}/oauth2/authorize") as page:
        assert page.headers["Referrer-Policy"] == "same-origin"
    status, _, _ = await request_page(discord, "POST", {"Origin": discord.url}, person=ANN, answer="allow")
    assert status == 302


async def test_unreadable_consent_form_is_a_client_error(discord: Discord) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with discord.http.post(f"{discord.url}/oauth2/authorize", data=b"scope=\xff", headers=headers) as page:
        assert page.status == 400


async def test_code_works_once_for_its_redirect_uri_within_ten_minutes(discord: Discord) -> None:
    code = (await give_consent(discord))["code"]
    by_code = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI}
    assert (await request_token(discord, **by_code, code=code))[0] == 200
    again = await request_token(discord, **by_code, code=code)
    assert again == (400, {"error": "invalid_grant", "error_description": 'Invalid "code" in request.'})
    code = (await give_consent(discord))["code"]
    elsewhere = await request_token(
        discord, grant_type="authorization_code", code=code, redirect_uri="http://localhost/"
    )
    assert "redirect_uri" in elsewhere[1]["error_description"]
    code = (await give_consent(discord))["code"]
    await discord.act("clock", advance_s=601)
    assert (await request_token(discord, **by_code, code=code))[1]["error"] == "invalid_grant"


async def test_pkce_requires_the_code_verifier(discord: Discord) -> None:
    challenge = {"code_challenge": s256_challenge("correct horse"), "code_challenge_method": "S256"}
    by_code = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI}
    code = (await give_consent(discord, **challenge))["code"]
    assert "code_verifier" in (await request_token(discord, **by_code, code=code))[1]["error_description"]
    code = (await give_consent(discord, **challenge))["code"]
    assert (await request_token(discord, **by_code, code=code, code_verifier="correct horse"))[0] == 200


async def test_client_authenticates_by_body_or_basic_auth(discord: Discord) -> None:
    grant = {"grant_type": "client_credentials", "scope": "identify"}
    basic = base64.b64encode(f"{BOT}:{CLIENT['client_secret']}".encode()).decode()
    status, issued = await request_token(discord, {"Authorization": f"Basic {basic}"}, **grant)
    assert (status, "refresh_token" in issued) == (200, False)
    assert (await get(discord, "/users/@me", issued["access_token"]))[1]["id"] == ANN  # the application's owner
    assert (await request_token(discord, **grant, client_secret="guessed"))[1]["error"] == "invalid_client"
    assert (await request_token(discord, {"Authorization": "Basic %"}, **grant)) == (
        401,
        {"error": "invalid_client", "error_description": "Unknown client."},
    )
    assert (await request_token(discord, grant_type="password"))[1]["error"] == "unsupported_grant_type"


async def test_token_expires_and_can_be_refreshed_and_revoked(discord: Discord) -> None:
    issued = await log_in(discord)
    await discord.act("clock", advance_s=issued["expires_in"] + 1)
    assert (await get(discord, "/users/@me", issued["access_token"]))[0] == 401
    by_refresh = {"grant_type": "refresh_token", "refresh_token": issued["refresh_token"]}
    _, renewed = await request_token(discord, **by_refresh)
    assert (await get(discord, "/users/@me", renewed["access_token"]))[0] == 200
    assert (await request_token(discord, **by_refresh))[1]["error"] == "invalid_grant"  # a refresh token works once
    form = {**CLIENT, "token": renewed["refresh_token"]}
    async with discord.http.post(f"{discord.url}/api/v10/oauth2/token/revoke", data=form) as response:
        assert (response.status, await response.json()) == (200, {})
    assert (await get(discord, "/users/@me", renewed["access_token"]))[0] == 401


async def test_adding_a_bot_requires_manage_guild(discord: Discord) -> None:
    await discord.act("world", remove_member={"member": "botctl-bot"})
    add = {"scope": "bot applications.commands", "permissions": "8", "guild_id": GUILD, "redirect_uri": ""}
    status, text, _ = await request_page(discord, "POST", person=CAT, answer="allow", **add)
    assert (status, "cat needs the permission MANAGE_GUILD to add a bot" in text) == (400, True)
    async with discord.wire() as wire:
        assert (await wire.identify())["guilds"] == []
        status, text, _ = await request_page(discord, "POST", person=ANN, answer="allow", **add)
        assert (status, "botctl-bot is in Botctl Test Guild now" in text) == (200, True)
        guild = (await wire.hear_until("GUILD_CREATE"))["d"]
    managed = next(role for role in guild["roles"] if role["managed"])
    assert (managed["permissions"], managed["tags"]["bot_id"]) == ("8", BOT)
    _, log = await discord.rest("GET", f"/guilds/{GUILD}/audit-logs", params={"action_type": "28"})
    assert [entry["user_id"] for entry in log["audit_log_entries"]] == [ANN]
