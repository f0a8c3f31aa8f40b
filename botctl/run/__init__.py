"""Build and run the processes of a bot. In: settings and roles. Out: running services, and an exit code.

Read `roles` first (the services of each role), then `lifecycle` (start, serve, drain, stop). `oneshot` builds the
services of commands that end by themselves, such as `botctl migrate`.
"""
