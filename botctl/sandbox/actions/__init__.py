"""Actions: they change the world (guilds, members, messages) and send the gateway events to the bots.

The REST routes and the control API call a function with the sandbox and the action's data. Read `posting` first.
"""
