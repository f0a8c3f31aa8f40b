"""API keys of the realtime server.

In: requests of `botctl auth` and of connections. Out: hashed keys in MongoDB, events, audit entries. Read `key_format`
first, then `api_keys`.
"""
