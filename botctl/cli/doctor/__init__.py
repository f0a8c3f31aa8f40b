"""``botctl doctor``: what is well and what is not, each with its mend. Read `command` first."""
