"""``botctl migrate``: create, apply, revert and check database migrations.

Read `command` first, then `view`, which prints the progress.
"""
