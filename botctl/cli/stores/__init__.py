"""``botctl stores``: show the address and the state of Redis and MongoDB. Read `command` first."""
