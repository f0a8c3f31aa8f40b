"""What the adapters share on HTTP: where handlers find the sandbox, how answers are written, and who watches them.

Requests and answers come in; `traffic` records them, and `openapi_check` compares them with Discord's own description.
Read `keys` first.
"""
