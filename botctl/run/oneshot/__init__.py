"""What a verb of a moment works with: one module a verb, each starts the services that its verb needs and no others.

Embedded stores are joined where a process runs them, and otherwise started for the time of the call. Verbs that only
look from outside (`monitor`, `audit log --follow`) start nothing. Read `services` first.
"""
