"""Connect disnake to the sandbox instead of Discord. disnake's addresses are constants, so they are replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from disnake.asset import Asset
from disnake.http import Route


@contextmanager
def override_endpoint(base_url: str | None) -> Iterator[None]:
    """Use ``base_url`` (``http://127.0.0.1:8911``) as Discord in this process until the block ends; None: no change."""
    if base_url is None:
        yield
        return
    before = Route.BASE, Asset.BASE, Asset.BASE_MEDIA
    Route.BASE = f"{base_url}/api/v10"  # its GET /gateway/bot names the gateway
    Asset.BASE = Asset.BASE_MEDIA = f"{base_url}/cdn"
    try:
        yield
    finally:
        Route.BASE, Asset.BASE, Asset.BASE_MEDIA = before
