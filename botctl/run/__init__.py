"""Build and run the processes of a bot. In: settings and roles. Out: running services, and an exit code.

Read `roles` first (which services a role has), then `lifecycle` (start, serve, drain, stop). `oneshot` builds what verbs
need that end by themselves.
"""
