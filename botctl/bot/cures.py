"""Cures for faults of disnake 2.12.2. Each says when it may go. Nothing else of disnake is changed."""

from __future__ import annotations

from weakref import WeakValueDictionary

from disnake.webhook.async_ import async_context


def cure_webhook_locks() -> None:
    """Let the locks of answered interactions go.

    disnake keeps one lock per (interaction, token) for ever (webhook/async_.py, AsyncWebhookAdapter._locks): about
    0.45 kB for each interaction. A weak dictionary keeps a lock exactly as long as a request holds it. It may go when
    disnake prunes them; tests/unit/bot/test_cures.py fails without it.
    """
    async_context.get()._locks = WeakValueDictionary()  # type: ignore[assignment]  # noqa: SLF001
