"""The web page of a bot: sign-in with Discord, sessions, and the JSON API that the page asks.

HTTP requests come in; pages, JSON and cookies go out. Live data of the page comes from the realtime server, for which
it gets a ticket here. Read `server` first (what there is), then `sign_in` and `visitors` (who someone is).
"""
