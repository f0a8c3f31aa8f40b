"""Imports the modules of all incidents, which adds them to the catalogue."""

from botctl.sandbox.incidents import connections, guilds, requests  # noqa: F401
