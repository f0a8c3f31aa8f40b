"""The state of all processes of a bot, for `botctl monitor`.

In: each process writes a snapshot to Redis once a second (`writer`). Out: one `MonitorView` (`reader`, `view`). Read
`snapshot` first.
"""
