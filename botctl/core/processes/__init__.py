"""Child processes of a project: started, supervised, shared by the processes of the project, and stopped.

An embedded part is a child process that serves an address: a store or the sandbox. A `PartSpec` comes in, the address
goes out. Read `embedded` first, then `child` and `runtime`.
"""
