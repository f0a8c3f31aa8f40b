"""``botctl monitor``: show all processes of a bot on one screen, or as JSON.

Read `command` first, then `view` (the screen as text) and `live` (the screen that updates itself).
"""
