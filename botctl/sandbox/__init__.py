"""A local Discord for development and tests; bots of any library connect to it.

Bots use REST and the gateway; people and tests use the control API. It runs as its own process (`python -m
botctl.sandbox`) or inside a test. The layers, from the bottom: `model` (data and rules), `storage` and the module
`sandbox`; `actions` (changes of the data) and `web`; `rest`, `gateway` and `incidents`; `control` and `process`.
`console` is the user's command line, `testing` the pytest plugin. Read `sandbox` first.
"""
