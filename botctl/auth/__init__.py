"""API keys of the realtime server.

Requests of `botctl auth` and of connections come in. Hashed keys in MongoDB, events and audit entries go out. Read
`key_format` first, then `api_keys`.
"""
