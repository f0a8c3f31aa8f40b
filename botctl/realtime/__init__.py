"""The realtime server: it streams the bot's events to WebSocket clients that have an API key.

In: the event log, API keys, messages of clients. Out: events, health pages, metrics. Read `session`, then `hub`.
"""
