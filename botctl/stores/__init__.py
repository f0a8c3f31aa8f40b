"""What several features stand on: clients of Redis and MongoDB, their embedded servers, a cache, and leases.

Settings and `Runtime` come in; a client that is ready to use goes out. Each feature has its own keys and collections,
and this room knows none of them. Read `redis` and `mongo` first.
"""
