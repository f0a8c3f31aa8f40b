"""Where handlers find what they serve."""

from __future__ import annotations

from aiohttp import web

from botctl.sandbox.server import Sandbox

SANDBOX = web.AppKey("sandbox", Sandbox)
BODY = web.RequestKey("body", object)  # of a request, once it was read: its JSON, for those who watch
