"""``botctl auth``: API keys, grants of roles, and sessions of the web page. Read `command` first."""
