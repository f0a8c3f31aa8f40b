"""The realtime server: it streams the bot's events to WebSocket clients, keeps states current, and does actions.

The event log, sources of states, API keys and messages of clients come in. Events, states, health pages and metrics go
out. Read `session` first, then `hub`, `states` and `actions`.
"""
