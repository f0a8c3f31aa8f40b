"""Discord's gateway: one websocket for each connection of a bot.

Frames of the client come in, events of its session go out. Read `connection` first, the protocol without a socket.
"""
