"""The control API, for people and tests.

Requests come in as JSON with the control secret. `people` passes a person's requests on to `actions`; `operator`
shows and changes the sandbox itself. Read `routes` first.
"""
