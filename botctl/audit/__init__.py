"""The audit log: which user, operator or service did what, and with which outcome.

In: entries (`core.contracts.audit_entry`). Out: documents in MongoDB, which nothing changes. Read `writer` first, then
`log`, which reads and follows them.
"""
