"""The stores of a bot: clients of Redis and MongoDB, their embedded servers, a cache, and leases.

Settings and a `Runtime` come in, connected clients go out. Keys and collections belong to the features. Read `redis`
and `mongo` first.
"""
