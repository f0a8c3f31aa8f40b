"""The gateway protocol as data: opcodes, frames, sessions and member requests.

Events go into a session, which numbers them and keeps them for a RESUME. Frames come out as text for a connection. Read
`session` first.
"""
