"""``botctl auth``: create, list and revoke API keys of the realtime server. Read `command` first."""
