"""Pointing disnake at the sandbox, and back."""

from __future__ import annotations

import contextlib

from disnake.asset import Asset
from disnake.http import Route

from botctl.bot.endpoint_override import pointed_at


def test_it_points_there_and_back_whatever_happens():
    """REST and assets; restored after an error too."""
    seen = []
    with contextlib.suppress(RuntimeError), pointed_at("http://127.0.0.1:8911"):
        seen = [Route("GET", "/users/@me").url, Asset.BASE, Asset.BASE_MEDIA]
        raise RuntimeError
    assert seen == ["http://127.0.0.1:8911/api/v10/users/@me", *["http://127.0.0.1:8911/cdn"] * 2]
    assert Route.BASE == "https://discord.com/api/v10"
    assert Asset.BASE == "https://cdn.discordapp.com"


def test_without_an_address_nothing_changes():
    with pointed_at(None):
        assert Route.BASE == "https://discord.com/api/v10"
