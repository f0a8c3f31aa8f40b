"""Builds and runs the processes of a bot. Settings and roles come in; running services and an exit code go out.

Read `roles` first (the services of each role), then `lifecycle` (start, serve, drain, stop). `oneshot` builds the
services of commands that end by themselves, such as `botctl migrate`.
"""
