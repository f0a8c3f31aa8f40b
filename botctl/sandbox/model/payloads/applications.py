"""The JSON of applications and webhooks (Discord: Application, Webhook). ``api``: the base URL of the REST API."""

from __future__ import annotations

from typing import Any

from botctl.sandbox.model.payloads.users import user
from botctl.sandbox.model.world import Application, Webhook, World

Json = dict[str, Any]


def application(app: Application, world: World) -> Json:
    return {
        "id": app.id,
        "name": app.name,
        "icon": None,
        "description": "A bot in a local Discord",
        "summary": "",
        "type": None,
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": app.flags,
        "flags_new": str(app.flags),
        "owner": user(world.users[app.owner_id]),
        "team": None,
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "approximate_guild_count": len(world.guilds),
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "eligible_oauth2_scopes": ["bot", "applications.commands"],
        "tags": [],
        **app.settings,
    }


def webhook(webhook: Webhook, world: World, *, api: str) -> Json:
    return {
        "id": webhook.id,
        "type": 1,
        "guild_id": webhook.guild_id,
        "channel_id": webhook.channel_id,
        "application_id": webhook.application_id,
        "name": webhook.name,
        "avatar": webhook.avatar,
        "user": user(world.users[webhook.user_id]),
        "token": webhook.token,
        "url": f"{api}/webhooks/{webhook.id}/{webhook.token}",
    }
