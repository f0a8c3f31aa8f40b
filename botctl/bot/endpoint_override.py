"""Point disnake at another Discord, the sandbox, and back. It has no setting for that: its addresses are constants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from disnake.asset import Asset
from disnake.http import Route


@contextmanager
def pointed_at(base_url: str | None) -> Iterator[None]:
    """Let disnake talk to ``base_url`` (``http://127.0.0.1:8911``) until the block ends; None changes nothing.

    It holds for the whole process. The gateway's address comes from there too (GET /gateway/bot).
    """
    if base_url is None:
        yield
        return
    before = Route.BASE, Asset.BASE, Asset.BASE_MEDIA
    Route.BASE = f"{base_url}/api/v10"
    Asset.BASE = Asset.BASE_MEDIA = f"{base_url}/cdn"
    try:
        yield
    finally:
        Route.BASE, Asset.BASE, Asset.BASE_MEDIA = before
