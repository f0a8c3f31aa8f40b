"""Database migrations: numbered files of ``migrations/``. Each runs once, however many processes start or die.

In: the files, the ledger in MongoDB and a lease. Out: a changed database, ledger records, events, audit entries. Read
`plan` first (pure), then `files`, `ledger`, `session` and `runner`.
"""
