"""The audit log: which user, operator or service did what, and with which outcome.

Entries (`core.contracts.audit_entry`) come in; documents in MongoDB that never change go out. Read `writer` first, then
`log`, which reads and follows them.
"""
