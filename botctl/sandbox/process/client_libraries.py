"""The line of code that connects each common library to a sandbox.

The libraries get the gateway's URL from the sandbox, except discord.py, which has it built in.
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
    """Map each library to its setup line for the sandbox at ``url``."""
    gateway = url.replace("http", "ws", 1)
    return {library: line.format(url=url, gateway=gateway) for library, line in _LINES.items()}
