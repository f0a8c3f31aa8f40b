"""Child processes of a project: started, supervised, shared between the terminals of one project, and stopped.

A `PartSpec` comes in, the address of a running part goes out. Read `embedded` first, then `child` and `runtime`.
"""
