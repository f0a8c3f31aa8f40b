"""``botctl ratelimit``: show and reset rate limits. Read `command` first."""
