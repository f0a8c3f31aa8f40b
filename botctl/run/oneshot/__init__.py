"""Services for verbs that end by themselves: one module a verb, which starts only what that verb needs.

An embedded store is shared with the process that runs it, or else started for the duration of the call. `monitor` and
`audit log --follow` start nothing. Read `services` first.
"""
