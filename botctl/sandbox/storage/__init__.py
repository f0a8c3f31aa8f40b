"""What survives a restart: the world in a file, and the bytes of attachments.

A world is written to the file and read from it; secrets are never stored. Read `world_file` first.
"""
