"""The files of the page: read once at the start, and served from memory. There is no listing, and no other path."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).parent / "static"
INDEX: Final = "index.html"
_TYPES: Final = {".js": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    body: bytes
    content_type: str
    etag: str

    def response(self, request: web.Request) -> web.Response:
        """The file, or 304 if the browser has this version."""
        headers = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if self.etag in (part.strip() for part in request.headers.get("If-None-Match", "").split(",")):
            return web.Response(status=304, headers=headers)
        is_text = self.content_type.startswith("text/")
        charset = "utf-8" if is_text else None
        return web.Response(body=self.body, content_type=self.content_type, charset=charset, headers=headers)


def load_static_files(folder: Path = FOLDER) -> Mapping[str, StaticFile]:
    """All files below ``folder``, by their path there with ``/``."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): _load(path) for path in paths}


def _load(path: Path) -> StaticFile:
    body = path.read_bytes()
    guessed = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return StaticFile(body, guessed, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
