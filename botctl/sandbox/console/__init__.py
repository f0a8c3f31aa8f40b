"""The person's side of a sandbox: a client of the control API, and the prompt on top of it.

Lines that a person types come in; what the bot answered comes out as text. It reaches the sandbox over HTTP alone. Read
`client` first, then `repl`.
"""
