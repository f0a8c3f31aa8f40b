"""The realtime server: it streams the bot's events to WebSocket clients that have an API key.

The event log, API keys and messages of clients come in. Events, health pages and metrics go out. Read `session` first,
then `hub`.
"""
