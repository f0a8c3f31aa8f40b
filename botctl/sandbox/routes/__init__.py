"""The routes of the local Discord, by what they are about. Importing this fills the table of `botctl.sandbox.rest`."""

from botctl.sandbox.routes import applications, channels, guilds, interactions

__all__ = ["applications", "channels", "guilds", "interactions"]
