"""What outlives a restart: the world in a file, and the bytes of attachments.

A world goes into the file and comes back from it; no secret is ever in it. Read `world_file` first.
"""
