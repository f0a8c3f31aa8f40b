"""The state of all processes of a bot, for `botctl monitor`.

Snapshots come in: each process writes one to Redis once a second (`writer`). One `MonitorView` goes out (`reader`,
`view`). Read `snapshot` first.

Each process also answers on a socket, for `botctl health` and when Redis is away: `own_health` keeps what it knows,
`health_socket` serves it, and `health_client` asks.
"""
