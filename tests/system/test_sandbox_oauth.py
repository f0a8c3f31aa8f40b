"""OAuth2 as a web application meets it: the page that a person sees, codes, tokens, scopes, their end."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from botctl.sandbox.model.oauth import s256_challenge
from botctl.sandbox.model.tokens import client_secret
from tests.support.discord import ANN, BOB, BOT, CAT, GUILD, SECRET, Discord, local_discord

BACK = "http://localhost:4000/callback?a=1"
CLIENT = {"client_id": BOT, "client_secret": client_secret(SECRET, BOT)}


@pytest.fixture
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as discord:
        yield discord


async def page(discord: Discord, method: str = "GET", headers: dict[str, str] | None = None, **said: str) -> Any:
    """The status, the text, and where a browser is sent."""
    said = {"client_id": BOT, "redirect_uri": BACK, "scope": "identify", "state": "s&1", **said}
    given: dict[str, Any] = {"params": said} if method == "GET" else {"data": said}
    url = f"{discord.url}/oauth2/authorize"
    async with discord.http.request(method, url, allow_redirects=False, headers=headers, **given) as answer:
        where = answer.headers.get("Location")
        return answer.status, await answer.text(), URL(where) if where else None


async def allow(discord: Discord, person: str = BOB, **said: str) -> dict[str, str]:
    """What comes back to the application when the person allows it."""
    status, text, back = await page(discord, "POST", person=person, answer="allow", **said)
    assert status == 302, text
    assert str(back).startswith("http://localhost:4000/callback?a=1&")
    return dict(back.query)


async def token(discord: Discord, headers: dict[str, str] | None = None, **said: str) -> tuple[int, Any]:
    form = said if headers else {**CLIENT, **said}
    async with discord.http.post(f"{discord.url}/api/oauth2/token", data=form, headers=headers) as answer:
        return answer.status, await answer.json()


async def tokens(discord: Discord, person: str = BOB, **said: str) -> dict[str, Any]:
    code = (await allow(discord, person, **said))["code"]
    status, made = await token(discord, grant_type="authorization_code", code=code, redirect_uri=BACK)
    assert status == 200, made
    return made


async def asked(discord: Discord, path: str, access: str) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {access}"}
    async with discord.http.get(f"{discord.url}/api/v10{path}", headers=headers) as answer:
        return answer.status, await answer.json()


async def test_the_page_says_who_wants_what_and_hides_what_it_is_told(discord: Discord) -> None:
    status, text, _ = await page(discord, scope="identify guilds bot", state='"><script>')
    assert status == 200
    for shown in ("botctl-bot wants to", "see your name", "join a server", "Botctl Test Guild", "localhost:4000"):
        assert shown in text
    assert [name in text for name in (">ann<", ">bob<", ">cat<", ">botctl-bot<")] == [True, True, True, False]
    assert "<script>" not in text


async def test_a_person_logs_in_to_an_application(discord: Discord) -> None:
    back = await allow(discord)
    assert back["state"] == "s&1"
    made = await tokens(discord, scope="identify email")
    assert (made["token_type"], made["expires_in"], made["scope"]) == ("Bearer", 604800, "identify email")
    _, me = await asked(discord, "/users/@me", made["access_token"])
    assert (me["id"], me["username"], me["email"]) == (BOB, "bob", "bob@example.com")
    _, about = await asked(discord, "/oauth2/@me", made["access_token"])
    assert (about["application"]["id"], about["user"]["id"], about["scopes"]) == (BOT, BOB, ["identify", "email"])


async def test_a_scope_opens_what_it_names_and_nothing_else(discord: Discord) -> None:
    access = (await tokens(discord, scope="guilds guilds.members.read"))["access_token"]
    _, guilds = await asked(discord, "/users/@me/guilds", access)
    assert [(one["id"], one["owner"]) for one in guilds] == [(GUILD, False)]
    _, member = await asked(discord, f"/users/@me/guilds/{GUILD}/member", access)
    assert member["user"]["id"] == BOB
    status, refused = await asked(discord, "/users/@me", access)
    assert (status, refused["code"]) == (403, 50026)
    assert (await asked(discord, f"/guilds/{GUILD}", access))[0] == 401
    assert (await asked(discord, f"/users/@me/guilds/{GUILD}/member", "none"))[0] == 401
    assert (await asked(discord, "/users/@me/guilds/1/member", access))[1]["code"] == 10004
    assert "user" not in (await asked(discord, "/oauth2/@me", access))[1]


async def test_what_is_refused_on_the_page_goes_back_to_the_application(discord: Discord) -> None:
    _, _, denied = await page(discord, "POST", person=ANN, answer="deny")
    assert (denied.query["error"], denied.query["state"]) == ("access_denied", "s&1")
    _, _, wrong = await page(discord, scope="identify rule.the.world")
    assert wrong.query["error"] == "invalid_scope"
    _, _, plain = await page(discord, code_challenge="x", code_challenge_method="plain")
    assert plain.query["error"] == "invalid_request"
    _, _, implicit = await page(discord, response_type="token")
    assert implicit.query["error"] == "unsupported_response_type"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"client_id": "1"}, "no application with the id"),
        ({"redirect_uri": "https://evil.example/"}, "no redirect URI"),
        ({"redirect_uri": "http://[/"}, "no redirect URI"),
        ({"redirect_uri": ""}, "no bot to add"),
    ],
)
async def test_nobody_is_sent_where_the_application_is_not(
    discord: Discord, said: dict[str, str], sentence: str
) -> None:
    for method in ("GET", "POST"):
        status, text, back = await page(discord, method, person=ANN, answer="allow", **said)
        assert (status, back) == (400, None)
        assert sentence in text


async def test_an_application_may_register_where_people_go_back_to(discord: Discord) -> None:
    await discord.act("world", set_redirects={"uris": ["https://app.example/in"]})
    assert (await page(discord))[0] == 400
    assert (await page(discord, redirect_uri="https://app.example/in"))[0] == 200


async def test_another_site_cannot_answer_for_a_person(discord: Discord) -> None:
    status, _, back = await page(discord, "POST", {"Origin": "http://evil.example"}, person=ANN, answer="allow")
    assert (status, back) == (403, None)


async def test_a_code_is_good_once_for_its_application_its_address_and_ten_minutes(discord: Discord) -> None:
    code = (await allow(discord))["code"]
    by_code = {"grant_type": "authorization_code", "redirect_uri": BACK}
    assert (await token(discord, **by_code, code=code))[0] == 200
    again = await token(discord, **by_code, code=code)
    assert again == (400, {"error": "invalid_grant", "error_description": 'Invalid "code" in request.'})
    code = (await allow(discord))["code"]
    elsewhere = await token(discord, grant_type="authorization_code", code=code, redirect_uri="http://localhost/")
    assert "redirect_uri" in elsewhere[1]["error_description"]
    code = (await allow(discord))["code"]
    await discord.act("clock", advance_s=601)
    assert (await token(discord, **by_code, code=code))[1]["error"] == "invalid_grant"


async def test_pkce_needs_the_verifier(discord: Discord) -> None:
    said = {"code_challenge": s256_challenge("correct horse"), "code_challenge_method": "S256"}
    by_code = {"grant_type": "authorization_code", "redirect_uri": BACK}
    code = (await allow(discord, **said))["code"]
    assert "code_verifier" in (await token(discord, **by_code, code=code))[1]["error_description"]
    code = (await allow(discord, **said))["code"]
    assert (await token(discord, **by_code, code=code, code_verifier="correct horse"))[0] == 200


async def test_the_client_proves_itself_by_the_body_or_by_basic(discord: Discord) -> None:
    said = {"grant_type": "client_credentials", "scope": "identify"}
    basic = base64.b64encode(f"{BOT}:{CLIENT['client_secret']}".encode()).decode()
    status, made = await token(discord, {"Authorization": f"Basic {basic}"}, **said)
    assert (status, "refresh_token" in made) == (200, False)
    assert (await asked(discord, "/users/@me", made["access_token"]))[1]["id"] == ANN  # the application's owner
    assert (await token(discord, **said, client_secret="guessed"))[1]["error"] == "invalid_client"
    assert (await token(discord, {"Authorization": "Basic %"}, **said)) == (
        401,
        {"error": "invalid_client", "error_description": "Unknown client."},
    )
    assert (await token(discord, grant_type="password"))[1]["error"] == "unsupported_grant_type"


async def test_a_token_ends_by_the_clock_and_is_renewed_or_revoked(discord: Discord) -> None:
    made = await tokens(discord)
    await discord.act("clock", advance_s=made["expires_in"] + 1)
    assert (await asked(discord, "/users/@me", made["access_token"]))[0] == 401
    by_refresh = {"grant_type": "refresh_token", "refresh_token": made["refresh_token"]}
    _, renewed = await token(discord, **by_refresh)
    assert (await asked(discord, "/users/@me", renewed["access_token"]))[0] == 200
    assert (await token(discord, **by_refresh))[1]["error"] == "invalid_grant"  # it was good once
    form = {**CLIENT, "token": renewed["refresh_token"]}
    async with discord.http.post(f"{discord.url}/api/v10/oauth2/token/revoke", data=form) as answer:
        assert (answer.status, await answer.json()) == (200, {})
    assert (await asked(discord, "/users/@me", renewed["access_token"]))[0] == 401


async def test_who_manages_a_guild_adds_a_bot_to_it(discord: Discord) -> None:
    await discord.act("world", remove_member={"member": "botctl-bot"})
    add = {"scope": "bot applications.commands", "permissions": "8", "guild_id": GUILD, "redirect_uri": ""}
    status, text, _ = await page(discord, "POST", person=CAT, answer="allow", **add)
    assert (status, "cat may not add a bot" in text) == (400, True)
    async with discord.wire() as wire:
        assert (await wire.identify())["guilds"] == []
        status, text, _ = await page(discord, "POST", person=ANN, answer="allow", **add)
        assert (status, "botctl-bot is in Botctl Test Guild now" in text) == (200, True)
        guild = (await wire.hear_until("GUILD_CREATE"))["d"]
    managed = next(one for one in guild["roles"] if one["managed"])
    assert (managed["permissions"], managed["tags"]["bot_id"]) == ("8", BOT)
    _, log = await discord.rest("GET", f"/guilds/{GUILD}/audit-logs", params={"action_type": "28"})
    assert [one["user_id"] for one in log["audit_log_entries"]] == [ANN]
