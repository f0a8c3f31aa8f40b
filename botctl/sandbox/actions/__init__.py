"""What changes the world and tells the bots about it: posts, moderation, reactions, threads, commands, the audit log.

The adapters call a function with the sandbox and what is to happen. Afterwards the world is different, and the bots'
sessions have been told. Read `posting` first.
"""
