"""Discord's gateway: one websocket for each connection of a bot.

Frames of the client come in. The events of its session go out, compressed where it asked for that. Read `connection`
first, which has the protocol without a socket, then `websocket`.
"""
