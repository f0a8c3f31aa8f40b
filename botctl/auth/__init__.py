"""API keys of the realtime server.

In: keys to create, revoke, list or check. Out: hashed keys in MongoDB, events, audit entries. Read `key_format` first,
then `api_keys`.
"""
