"""What servers of HTTP and WebSockets share: which requests are let in, and what a refused one is told.

Headers and settings come in; faults, the client's address and a TLS context go out. Read `origins` first.
"""
