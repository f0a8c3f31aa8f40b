"""``botctl gateway``: `command` parses, `view` draws."""
