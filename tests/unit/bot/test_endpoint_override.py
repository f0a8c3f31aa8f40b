"""Pointing disnake at the sandbox, and back."""

from __future__ import annotations

import contextlib

from disnake.asset import Asset
from disnake.http import Route

from botctl.bot.endpoint_override import override_endpoint


def test_endpoint_is_restored_after_an_exception():
    urls = []
    with contextlib.suppress(RuntimeError), override_endpoint("http://127.0.0.1:8911"):
        urls = [Route("GET", "/users/@me").url, Asset.BASE, Asset.BASE_MEDIA]
        raise RuntimeError
    assert urls == ["http://127.0.0.1:8911/api/v10/users/@me", *["http://127.0.0.1:8911/cdn"] * 2]
    assert Route.BASE == "https://discord.com/api/v10"
    assert Asset.BASE == "https://cdn.discordapp.com"


def test_without_a_url_the_endpoint_stays():
    with override_endpoint(None):
        assert Route.BASE == "https://discord.com/api/v10"
