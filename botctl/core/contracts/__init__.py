"""The data and the protocols that features share, so that no feature imports another. Nothing here does I/O.

Read `invocation` and `events` first, then `protocols`.
"""
