"""Child processes of a project: started, supervised, shared between the terminals of one project, and stopped.

An embedded part is a child process that serves an address: a store or the sandbox. A `PartSpec` comes in, the address
goes out. Read `embedded` first, then `child` and `runtime`.
"""
