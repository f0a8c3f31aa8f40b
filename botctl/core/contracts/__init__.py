"""The data and the protocols that features (packages such as `jobs`) share, so that none imports another. No I/O.

Read `invocation` and `events` first, then `protocols`.
"""
