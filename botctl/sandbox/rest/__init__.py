"""Discord's REST API, with one module of `routes` for each resource.

A request comes in over HTTP; a route checks the bot's permissions, calls `actions` and returns JSON. Read `routing`
first, then any module of `routes`.
"""
