"""Services of one process: registered with their dependencies, started in order, supervised, and stopped in reverse.

Factories come in, ready services and ServiceChanged events go out. Read `registry` first, then `service`.
"""
