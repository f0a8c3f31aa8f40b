"""Every guild's settings have a revision.

They are changed by compare-and-swap on ``revision``. A document that came from elsewhere (an import, a backup by hand)
may have none, and could never be changed. There is nothing to take back, so there is no ``down``.
"""

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase


async def up(db: AsyncDatabase[dict[str, Any]]) -> None:
    await db["botctl_guilds"].update_many({"revision": {"$exists": False}}, {"$set": {"revision": 1}})
