"""What the HTTP adapters share: application keys, JSON responses, recording and checking.

Requests and responses come in. `traffic` records them, and `openapi_check` compares them with Discord's OpenAPI
description. Read `keys` first.
"""
