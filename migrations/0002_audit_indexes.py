"""Indexes for `botctl audit log`: by time, and by who, what and where.

Without them every question reads the whole log.
"""

from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

AT = ("at", -1)  # the newest entries are asked for
INDEXES = (
    [AT],
    [("x.actor", 1), AT],
    [("x.name", 1), AT],  # an actor may be named instead
    [("x.action", 1), AT],
    [("x.guild", 1), AT],
    [("w.at", 1)],  # --follow goes by the time of writing
)


async def up(db: AsyncDatabase[dict[str, Any]]) -> None:
    for keys in INDEXES:
        await db["botctl_audit"].create_index(keys)  # one that is there already stays


async def down(db: AsyncDatabase[dict[str, Any]]) -> None:
    wanted = [[field for field, _ in keys] for keys in INDEXES]
    for name, index in (await db["botctl_audit"].index_information()).items():
        if [field for field, _ in index["key"]] in wanted:  # not by name: a server may choose another one
            await db["botctl_audit"].drop_index(name)
