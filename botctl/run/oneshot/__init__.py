"""The services of commands that end by themselves (`botctl migrate`): each module starts only what one of them needs.

An embedded store is shared with the process that runs it, or else started for the duration of the command. `monitor`
and `audit log --follow` start nothing. Read `services` first.
"""
