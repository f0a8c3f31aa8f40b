"""The keys under which handlers find the sandbox and a request's body."""

from __future__ import annotations

from aiohttp import web

from botctl.sandbox.sandbox import Sandbox

SANDBOX = web.AppKey("sandbox", Sandbox)
BODY = web.RequestKey("body", object)  # the request's parsed JSON, which `traffic` records
