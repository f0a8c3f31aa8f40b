"""The control API: what people and tests ask of a sandbox.

Requests come in as JSON with the control secret. What a person does goes on to `actions`; what an operator asks is
answered from the sandbox. Read `routes` first.
"""
