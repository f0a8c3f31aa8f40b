"""Database migrations: numbered files of ``migrations/``. Each runs once, however many processes start or die.

The files, their records in MongoDB and a lease come in. A changed database, new records, events and audit entries go
out. Read `plan` first (pure), then `files`, `ledger`, `session` and `runner`.
"""
