"""The consent page of OAuth2 (Discord: OAuth2 > Authorization Code Grant, Bot Authorization Flow).

There is no login: the user of the page chooses which of the sandbox's users they are.
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
from botctl.sandbox.sandbox import Sandbox
from botctl.sandbox.web.keys import SANDBOX

PATHS = ("/oauth2/authorize", "/api/oauth2/authorize", "/api/v10/oauth2/authorize")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers would send the form with ``Origin: null``
}
_CHALLENGE = "code_challenge"
_HIDDEN_INPUTS = ("client_id", "scope", "redirect_uri", "state", _CHALLENGE, "code_challenge_method", "permissions")
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


class _InvalidRequest(Exception):
    """The application or the redirect URI is wrong, so the page shows an error and does not redirect."""


@dataclass(frozen=True)
class _ConsentRequest:
    """What an application asks for. ``redirect_uri`` is empty when it only wants to add a bot."""

    app: Application
    scopes: tuple[str, ...]
    redirect_uri: str
    fields: Mapping[str, str]  # the query parameters of the page, or the fields of its form

    def redirect(self, **query: str) -> web.HTTPFound:
        """The redirect back to the application, with the ``state`` that it sent."""
        state = {"state": self.fields["state"]} if self.fields.get("state") else {}
        return web.HTTPFound(URL(self.redirect_uri).update_query({**query, **state}))


def install(app: web.Application) -> None:
    for path in PATHS:
        app.router.add_get(path, _show_page)
    app.router.add_post(PATHS[0], _handle_answer)


async def _show_page(request: web.Request) -> web.Response:
    sandbox = request.app[SANDBOX]
    try:
        consent = _parse_consent(sandbox, request.query)
        _check_consent(consent)
    except _InvalidRequest as error:
        return _render_page("Invalid request", f"<p>{escape(str(error))}</p>", status=400)
    except OAuthError as error:
        return _redirect_error(sandbox, request.query, error)
    return _render_page(f"{consent.app.name} wants to", _render_form(sandbox, consent))


async def _handle_answer(request: web.Request) -> web.Response:
    sandbox = request.app[SANDBOX]
    if request.headers.get("Origin", _own_origin(request)) != _own_origin(request):
        return _render_page("Invalid request", "<p>The request comes from another site.</p>", status=403)
    try:
        fields = {key: str(value) for key, value in (await request.post()).items()}
    except ValueError:
        return _render_page("Invalid request", "<p>The form cannot be read.</p>", status=400)
    try:
        consent = _parse_consent(sandbox, fields)
        _check_consent(consent)
        if fields.get("answer") != "allow":
            raise OAuthError("access_denied", "The resource owner or authorization server denied the request")
        return _grant_access(sandbox, consent)
    except _InvalidRequest as error:
        return _render_page("Invalid request", f"<p>{escape(str(error))}</p>", status=400)
    except OAuthError as error:
        return _redirect_error(sandbox, fields, error)


def _own_origin(request: web.Request) -> str:
    """What a browser sends as Origin with the page's own form.

    ``null`` is not accepted: each page in a sandboxed frame can send it, and so can one with ``no-referrer``.
    """
    return f"{request.scheme}://{request.host}"


def _grant_access(sandbox: Sandbox, consent: _ConsentRequest) -> web.Response:
    person = sandbox.world.users.get(consent.fields.get("person", ""))
    if person is None or person.bot:
        raise _InvalidRequest("There is no person with this id.")
    guild = _add_bot(sandbox, consent, person.id) if "bot" in consent.scopes else None
    if not consent.redirect_uri:
        return _render_page(
            "Done", f"<p>{escape(consent.app.name)} is in {escape(guild.name if guild else '')} now.</p>"
        )
    now_s = sandbox.clock.monotonic()
    grant = Grant(consent.app.id, person.id, consent.scopes, 0.0, guild_id=guild.id if guild else None)
    code = sandbox.grants.create_code(grant, consent.redirect_uri, consent.fields.get(_CHALLENGE) or None, now_s)
    query = {"guild_id": guild.id, "permissions": consent.fields.get("permissions") or "0"} if guild else {}
    raise consent.redirect(code=code, **query)


def _parse_consent(sandbox: Sandbox, fields: Mapping[str, str]) -> _ConsentRequest:
    """The request in ``fields``; raises _InvalidRequest for a redirect URI that is not the application's own."""
    app = sandbox.world.applications.get(fields.get("client_id", ""))
    if app is None:
        raise _InvalidRequest(f"There is no application with the id “{fields.get('client_id', '')}”.")
    redirect_uri, registered = fields.get("redirect_uri", ""), app.settings.get("redirect_uris") or []
    if redirect_uri and redirect_uri not in registered and (registered or not _is_loopback(redirect_uri)):
        allowed = (
            f"It has registered: {', '.join(registered)}."
            if registered
            else "It has registered none, so only loopback addresses work."
        )
        raise _InvalidRequest(f"“{redirect_uri}” is not a redirect URI of {app.name}. {allowed}")
    scopes = tuple(fields.get("scope", "").split())
    if not redirect_uri and "bot" not in scopes:
        raise _InvalidRequest("The request has neither a redirect_uri nor the scope bot.")
    return _ConsentRequest(app, scopes, redirect_uri, fields)


def _check_consent(consent: _ConsentRequest) -> None:
    """Raises OAuthError for unknown scopes, response types and challenge methods."""
    parse_scopes(" ".join(consent.scopes))
    if consent.redirect_uri and consent.fields.get("response_type", "code") != "code":
        raise OAuthError("unsupported_response_type", "The sandbox supports only the response type code.")
    if consent.fields.get(_CHALLENGE) and consent.fields.get("code_challenge_method", S256) != S256:
        raise OAuthError("invalid_request", "The code challenge method must be S256.")


def _redirect_error(sandbox: Sandbox, fields: Mapping[str, str], error: OAuthError) -> web.Response:
    consent = _parse_consent(sandbox, fields)
    if not consent.redirect_uri:
        return _render_page("No access was granted", f"<p>{escape(error.message)}.</p>", status=400)
    raise consent.redirect(error=error.error, error_description=error.message)


def _is_loopback(uri: str) -> bool:
    try:
        return URL(uri).host in _LOOPBACK
    except ValueError:
        return False


def _add_bot(sandbox: Sandbox, consent: _ConsentRequest, person_id: str) -> Guild:
    """Add the bot to the chosen guild, with its own role that has the requested permissions."""
    world = sandbox.world
    guild = world.guilds.get(consent.fields.get("guild_id", ""))
    member = guild.members.get(person_id) if guild else None
    if guild is None or member is None or not _can_manage(sandbox, guild, member):
        raise _InvalidRequest(
            f"{world.users[person_id].name} needs the permission MANAGE_GUILD to add a bot to that server."
        )
    if consent.app.id not in guild.members:
        granted = consent.fields.get("permissions", "")
        role = Role(
            world.new_id(),
            consent.app.name,
            permissions=int(granted) if granted.isdecimal() else 0,
            bot_id=consent.app.id,
        )
        guild.roles[role.id] = role
        sandbox.emit("GUILD_ROLE_CREATE", {"guild_id": guild.id, "role": payloads.role(role)}, guild.id)
        moderation.add_bot(sandbox, guild, Member(consent.app.id, [role.id], joined_at=world.timestamp()))
        audit_log.record(
            sandbox, guild, GuildAuditEntry(world.new_id(), person_id, AuditAction.BOT_ADD, consent.app.id)
        )
    return guild


def _can_manage(sandbox: Sandbox, guild: Guild, member: Member) -> bool:
    return bool(permissions.compute(sandbox.world, guild, member) & permission_bits.bits("MANAGE_GUILD"))


def _render_form(sandbox: Sandbox, consent: _ConsentRequest) -> str:
    world = sandbox.world
    people = {user.id: user.name for user in world.users.values() if not user.bot}
    guilds = {guild.id: guild.name for guild in world.guilds.values()}
    preset = consent.fields.get("guild_id")
    wants = "".join(f"<li>{escape(SCOPES[scope])}</li>" for scope in consent.scopes)
    hidden = "".join(
        f'<input type="hidden" name="{key}" value="{escape(consent.fields[key])}">'
        for key in _HIDDEN_INPUTS
        if key in consent.fields
    )
    return (
        f"<ul>{wants}</ul>"
        f'<form method="post" action="{PATHS[0]}">{hidden}'
        f"{_render_select('person', 'You are', people, None)}"
        f"{_render_select('guild_id', 'Add it to', guilds, preset) if 'bot' in consent.scopes else ''}"
        f"<p>{escape(_next_step_text(consent))}</p>"
        '<div><button name="answer" value="deny">Cancel</button>'
        '<button name="answer" value="allow">Authorize</button></div></form>'
    )


def _next_step_text(consent: _ConsentRequest) -> str:
    return (
        f"Your browser then goes to {URL(consent.redirect_uri).origin()}."
        if consent.redirect_uri
        else "The bot then joins the server."
    )


def _render_select(name: str, label: str, options: Mapping[str, str], chosen: str | None) -> str:
    items = "".join(
        f'<option value="{key}"{" selected" if key == chosen else ""}>{escape(text)}</option>'
        for key, text in options.items()
    )
    return f'<label>{label}<select name="{name}">{items}</select></label>'


def _render_page(title: str, body: str, *, status: int = 200) -> web.Response:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return web.Response(status=status, text=text, content_type="text/html", headers=_HEADERS)
