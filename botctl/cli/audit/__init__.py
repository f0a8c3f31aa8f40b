"""``botctl audit``: show, filter and follow the audit log.

Options come in; entries go out as text or JSON lines. Read `command` first, then `view`.
"""
