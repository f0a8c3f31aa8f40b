"""The page on which a person allows an application what it asks for (Discord: OAuth2 > Authorization Code Grant, Bot
Authorization Flow). Who they are they choose: nobody logs in to a sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from aiohttp import web
from yarl import URL

from botctl.sandbox.actions import audit_log, moderation
from botctl.sandbox.actions.audit_log import AuditAction
from botctl.sandbox.model import payloads, permission_bits, permissions
from botctl.sandbox.model.oauth import S256, SCOPES, Grant, OAuthError, parse_scopes
from botctl.sandbox.model.world import Application, Guild, GuildAuditEntry, Member, Role
from botctl.sandbox.server import Sandbox
from botctl.sandbox.web.keys import SANDBOX

PATHS = ("/oauth2/authorize", "/api/oauth2/authorize", "/api/v10/oauth2/authorize")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
_CHALLENGE = "code_challenge"
_PASSED = ("client_id", "scope", "redirect_uri", "state", _CHALLENGE, "code_challenge_method", "permissions")
_STYLE = """
body{margin:0;min-height:100vh;display:grid;place-items:center;background:#1e1f22;color:#dbdee1;
font:16px/1.4 system-ui,"DejaVu Sans",sans-serif}
main{width:min(26rem,92vw);background:#313338;border-radius:8px;padding:1.5rem;box-sizing:border-box}
h1{font-size:1.25rem;margin:0 0 .25rem}p{margin:.25rem 0 1rem;color:#b5bac1;overflow-wrap:anywhere}
ul{padding:0;margin:0 0 1rem;list-style:none}li::before{content:"✓ ";color:#23a55a}
label{display:block;margin:0 0 1rem;font-size:.8rem;font-weight:600;text-transform:uppercase}
select{display:block;width:100%;margin-top:.3rem;padding:.6rem;font-size:1rem;color:inherit;background:#1e1f22;
border:0;border-radius:4px}
div{display:flex;justify-content:space-between}
button{padding:.6rem 1.4rem;font-size:1rem;border:0;border-radius:4px;color:#fff;background:#5865f2}
button[value=deny]{background:none;color:inherit}
:focus-visible{outline:2px solid #00a8fc;outline-offset:2px}
"""


class _Refused(Exception):
    """The page cannot be shown, nor anybody sent back: the application, or where to, is wrong."""


@dataclass(frozen=True)
class _Wish:
    """What is asked for. ``redirect_uri`` is empty where a bot is to be added and that is all."""

    app: Application
    scopes: tuple[str, ...]
    redirect_uri: str
    said: Mapping[str, str]

    def back(self, **more: str) -> web.HTTPFound:
        """The way back to the application, with what it handed in as ``state``."""
        state = {"state": self.said["state"]} if self.said.get("state") else {}
        return web.HTTPFound(URL(self.redirect_uri).update_query({**more, **state}))


def install(app: web.Application) -> None:
    for path in PATHS:
        app.router.add_get(path, _asked)
    app.router.add_post(PATHS[0], _answered)


async def _asked(request: web.Request) -> web.Response:
    sandbox = request.app[SANDBOX]
    try:
        wish = _wish(sandbox, request.query)
        _check(wish)
    except _Refused as refused:
        return _page("This does not work", f"<p>{escape(str(refused))}</p>", status=400)
    except OAuthError as error:
        return _sent_back(sandbox, request.query, error)
    return _page(f"{wish.app.name} wants to", _form(sandbox, wish))


async def _answered(request: web.Request) -> web.Response:
    sandbox, said = request.app[SANDBOX], {key: str(one) for key, one in (await request.post()).items()}
    origin = request.headers.get("Origin")
    if origin not in (None, "null") and URL(str(origin)).authority != request.host:
        return _page("This does not work", "<p>Another site has sent this.</p>", status=403)
    try:
        wish = _wish(sandbox, said)
        _check(wish)
        if said.get("answer") != "allow":
            raise OAuthError("access_denied", "The resource owner or authorization server denied the request")
        return _allowed(sandbox, wish)
    except _Refused as refused:
        return _page("This does not work", f"<p>{escape(str(refused))}</p>", status=400)
    except OAuthError as error:
        return _sent_back(sandbox, said, error)


def _allowed(sandbox: Sandbox, wish: _Wish) -> web.Response:
    person = sandbox.world.users.get(wish.said.get("person", ""))
    if person is None or person.bot:
        raise _Refused("There is no such person.")
    guild = _join(sandbox, wish, person.id) if "bot" in wish.scopes else None
    if not wish.redirect_uri:
        return _page("Done", f"<p>{escape(wish.app.name)} is in {escape(guild.name if guild else '')} now.</p>")
    now_s = sandbox.clock.monotonic()
    grant = Grant(wish.app.id, person.id, wish.scopes, 0.0, guild_id=guild.id if guild else None)
    code = sandbox.grants.code(grant, wish.redirect_uri, wish.said.get(_CHALLENGE) or None, now_s)
    more = {"guild_id": guild.id, "permissions": wish.said.get("permissions") or "0"} if guild else {}
    raise wish.back(code=code, **more)


def _wish(sandbox: Sandbox, said: Mapping[str, str]) -> _Wish:
    """Who asks, and where the answer goes; nobody is sent anywhere that is not the application's own."""
    app = sandbox.world.applications.get(said.get("client_id", ""))
    if app is None:
        raise _Refused(f"There is no application with the id “{said.get('client_id', '')}”.")
    redirect_uri, known = said.get("redirect_uri", ""), app.settings.get("redirect_uris") or []
    if redirect_uri and redirect_uri not in known and (known or not _is_loopback(redirect_uri)):
        where = f"It has: {', '.join(known)}." if known else "It has registered none, so it must be on this machine."
        raise _Refused(f"“{redirect_uri}” is no redirect URI of {app.name}. {where}")
    scopes = tuple(said.get("scope", "").split())
    if not redirect_uri and "bot" not in scopes:
        raise _Refused("There is no redirect_uri, and no bot to add.")
    return _Wish(app, scopes, redirect_uri, said)


def _check(wish: _Wish) -> None:
    """Raises OAuthError for what the application has asked wrongly."""
    parse_scopes(" ".join(wish.scopes))
    if wish.redirect_uri and wish.said.get("response_type", "code") != "code":
        raise OAuthError("unsupported_response_type", "The sandbox knows the response type code only.")
    if wish.said.get(_CHALLENGE) and wish.said.get("code_challenge_method", S256) != S256:
        raise OAuthError("invalid_request", "The code challenge method must be S256.")


def _sent_back(sandbox: Sandbox, said: Mapping[str, str], error: OAuthError) -> web.Response:
    wish = _wish(sandbox, said)
    if not wish.redirect_uri:
        return _page("Nothing has changed", f"<p>{escape(error.message)}.</p>", status=400)
    raise wish.back(error=error.error, error_description=error.message)


def _is_loopback(uri: str) -> bool:
    try:
        return URL(uri).host in _LOOPBACK
    except ValueError:
        return False


def _join(sandbox: Sandbox, wish: _Wish, person_id: str) -> Guild:
    """The bot comes to the guild that was chosen, with a role of its own that may what it asks for."""
    world = sandbox.world
    guild = world.guilds.get(wish.said.get("guild_id", ""))
    member = guild.members.get(person_id) if guild else None
    if guild is None or member is None or not _manages(sandbox, guild, member):
        raise _Refused(f"{world.users[person_id].name} may not add a bot to that server.")
    if wish.app.id not in guild.members:
        may = wish.said.get("permissions", "")
        role = Role(world.new_id(), wish.app.name, permissions=int(may) if may.isdecimal() else 0, bot_id=wish.app.id)
        guild.roles[role.id] = role
        sandbox.emit("GUILD_ROLE_CREATE", {"guild_id": guild.id, "role": payloads.role(role)}, guild.id)
        moderation.add_bot(sandbox, guild, Member(wish.app.id, [role.id], joined_at=world.timestamp()))
        audit_log.record(sandbox, guild, GuildAuditEntry(world.new_id(), person_id, AuditAction.BOT_ADD, wish.app.id))
    return guild


def _manages(sandbox: Sandbox, guild: Guild, member: Member) -> bool:
    return bool(permissions.compute(sandbox.world, guild, member) & permission_bits.bits("MANAGE_GUILD"))


def _form(sandbox: Sandbox, wish: _Wish) -> str:
    world = sandbox.world
    people = {one.id: one.name for one in world.users.values() if not one.bot}
    guilds = {one.id: one.name for one in world.guilds.values()}
    preset = wish.said.get("guild_id")
    wants = "".join(f"<li>{escape(SCOPES[one])}</li>" for one in wish.scopes)
    hidden = "".join(
        f'<input type="hidden" name="{key}" value="{escape(wish.said[key])}">' for key in _PASSED if key in wish.said
    )
    return (
        f"<ul>{wants}</ul>"
        f'<form method="post" action="{PATHS[0]}">{hidden}'
        f"{_select('person', 'You are', people, None)}"
        f"{_select('guild_id', 'Add it to', guilds, preset) if 'bot' in wish.scopes else ''}"
        f"<p>{escape(_afterwards(wish))}</p>"
        '<div><button name="answer" value="deny">Cancel</button>'
        '<button name="answer" value="allow">Authorize</button></div></form>'
    )


def _afterwards(wish: _Wish) -> str:
    return f"Then you go to {URL(wish.redirect_uri).origin()}." if wish.redirect_uri else "Then the bot is there."


def _select(name: str, label: str, options: Mapping[str, str], chosen: str | None) -> str:
    shown = "".join(
        f'<option value="{key}"{" selected" if key == chosen else ""}>{escape(text)}</option>'
        for key, text in options.items()
    )
    return f'<label>{label}<select name="{name}">{shown}</select></label>'


def _page(title: str, body: str, *, status: int = 200) -> web.Response:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return web.Response(status=status, text=text, content_type="text/html", headers=_HEADERS)
