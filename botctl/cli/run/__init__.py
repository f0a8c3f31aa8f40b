"""``botctl run``: start a bot and everything it needs. Read `command` first, then `view`, which prints the start."""
