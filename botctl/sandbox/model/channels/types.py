"""The types of channels (Discord: Channel resource > Channel Types)."""

from __future__ import annotations

TEXT, DM, VOICE, CATEGORY, ANNOUNCEMENT = 0, 1, 2, 4, 5
ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD = 10, 11, 12
STAGE, DIRECTORY, FORUM, MEDIA = 13, 14, 15, 16
