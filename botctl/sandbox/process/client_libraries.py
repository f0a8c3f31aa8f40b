"""How a bot of each common library is pointed at a sandbox: the one thing that is changed besides its token.

The gateway's URL they ask the sandbox for, except discord.py, which has it built in.
"""

from __future__ import annotations

from typing import Final

_LINES: Final = {
    "disnake": 'disnake.http.Route.BASE = "{url}/api/v10"',
    "discord.py": (
        'discord.http.Route.BASE = "{url}/api/v10"; '
        'discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL("{gateway}")'
    ),
    "nextcord": 'nextcord.http.Route.BASE = "{url}/api/v10"',
    "py-cord": 'discord.http.Route.API_BASE_URL = "{url}/api/v10"',
    "interactions.py": 'interactions.api.http.route.Route.BASE = "{url}/api/v10"',
    "hikari": 'hikari.GatewayBot(token, rest_url="{url}/api/v10")',
    "discord.js": 'new Client({{ intents, rest: {{ api: "{url}/api" }} }})',
    "Discordeno": 'createBot({{ token, rest: {{ proxy: {{ baseUrl: "{url}/api" }} }} }})',
    "JDA": 'JDABuilder.setRestConfig(new RestConfig().setBaseUrl("{url}/api/v10/"))',
    "serenity": 'HttpBuilder::new(token).proxy("{url}").build()',
}


def setup_lines(url: str) -> dict[str, str]:
    """Library to the line of code that points it at the sandbox at ``url``."""
    gateway = url.replace("http", "ws", 1)
    return {library: line.format(url=url, gateway=gateway) for library, line in _LINES.items()}
