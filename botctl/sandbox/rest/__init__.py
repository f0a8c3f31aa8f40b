"""Discord's REST API.

A request comes in over HTTP. A route checks the bot's permissions, calls `actions` and returns JSON. Each resource of
Discord has a module in `routes`. Read `routing` first, then any module of `routes`.
"""
