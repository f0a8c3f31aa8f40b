"""The event loop of this process: how late it is, timeouts that do not count that, and tasks that no one awaits.

Read `lag` first.
"""
