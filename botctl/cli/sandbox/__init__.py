"""``botctl sandbox``: command line, prompt and output of the local Discord. Read `command` first."""
