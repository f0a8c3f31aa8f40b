"""A Discord on this machine, which bots of any library connect to.

Bots come in through REST and the gateway, people and tests through the control API. It runs as a process of its own
(`python -m botctl.sandbox`) or within a test. From the bottom, its rooms are `model`, `storage` and the module
`server`; then `actions` and `web`; then `rest`, `gateway` and `incidents`; then `control` and `process`. `console` is
the person's side, `testing` the pytest plugin. Read `server` first.
"""
