"""Images in a request's body, as data URIs (Discord: Reference > Image Data)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Any

from botctl.sandbox.model.api_error import FormErrors, Path

_DATA_URI = re.compile(r"data:(image/(?:png|jpeg|gif|webp|avif));base64,(.*)", re.DOTALL)
_MAGIC_BYTES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
    "image/avif": b"\0\0\0",
}
MAX_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class Image:
    content_type: str
    data: bytes

    @property
    def animated(self) -> bool:
        return self.content_type == "image/gif"

    @property
    def hash(self) -> str:
        """Discord's name for the image: 32 hex digits, after ``a_`` when it is animated."""
        return "a_" * self.animated + hashlib.md5(self.data, usedforsecurity=False).hexdigest()


def parse_image(
    errors: FormErrors, path: Path, body: dict[str, Any], name: str, maximum: int = MAX_BYTES
) -> Image | None:
    """The image ``name`` of ``body``; None when it is absent, null or invalid. ``maximum``: bytes."""
    data_uri = errors.field(path, body, name, str)
    if data_uri is None:
        return None
    decoded = _decode(data_uri)
    if decoded is None:
        errors.add((*path, name), "IMAGE_INVALID", "Invalid image data")
    elif len(decoded.data) > maximum:
        errors.add((*path, name), "BINARY_TYPE_MAX_SIZE", f"File cannot be larger than {maximum / 1024} kb.")
        return None
    return decoded


def _decode(data_uri: str) -> Image | None:
    parts = _DATA_URI.fullmatch(data_uri)
    if parts is None:
        return None
    try:
        data = base64.b64decode(parts[2], validate=True)
    except binascii.Error:
        return None
    # Discord checks the data and not the declared type: it accepts a PNG that is declared as a JPEG.
    content_type = next((kind for kind, prefix in _MAGIC_BYTES.items() if data.startswith(prefix)), None)
    return Image(content_type, data) if content_type else None
