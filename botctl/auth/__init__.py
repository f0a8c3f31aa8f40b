"""API keys of the realtime server.

<<<<<<< HEAD
Requests of `botctl auth` and of connections come in. Hashed keys in MongoDB, events and audit entries go out. Read
`key_format` first, then `api_keys`.
=======
In: keys to create, revoke, list or check. Out: hashed keys in MongoDB, events, audit entries. Read `key_format` first,
then `api_keys`.
>>>>>>> s2
"""
