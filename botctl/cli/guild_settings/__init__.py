"""``botctl settings``: show and change the settings of a guild. Read `command` first."""
