"""``botctl jobs``: list, run, pause and resume scheduled jobs. Read `command` first."""
