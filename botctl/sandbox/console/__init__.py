"""The user's side of a sandbox: a client of the control API, and the prompt that uses it.

Lines that a user types come in; replies of the bot come out. It reaches the sandbox over HTTP only. Read `client`
first, then `repl`.
"""
