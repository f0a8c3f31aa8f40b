"""Discord's bad days, made on purpose.

An incident begins by name or by a scenario, breaks something, and puts it right when it ends. `connections`, `guilds`
and `requests` hold them, `runner` begins and ends them. Read `catalogue` first, which says what an incident is.
"""
