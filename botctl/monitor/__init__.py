"""The state of all processes of a bot, for `botctl monitor`.

Snapshots come in: each process writes one to Redis once a second (`writer`). One `MonitorView` goes out (`reader`,
`view`). Read `snapshot` first.
"""
