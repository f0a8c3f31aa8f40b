"""Importing this module fills the catalogue."""

from botctl.sandbox.incidents import connections, guilds, requests  # noqa: F401
