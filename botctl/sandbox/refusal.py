"""How Discord says no: an HTTP status and ``{code, message, errors?}`` (Discord: Reference > Error Messages)."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """A request that Discord refuses. ``errors`` is the nested tree of a 50035, or empty."""

    def __init__(self, status: int, code: int, message: str, errors: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors or {}

    def body(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"message": self.message, "code": self.code}
        return {**shown, "errors": self.errors} if self.errors else shown


def not_found() -> Refusal:
    """There is no such route."""
    return Refusal(404, 0, "404: Not Found")


def unauthorized() -> Refusal:
    return Refusal(401, 0, "401: Unauthorized")


def unknown(what: str) -> Refusal:
    """``what`` does not exist, with Discord's own code for it."""
    codes = {
        "Channel": 10003,
        "Guild": 10004,
        "Member": 10007,
        "Message": 10008,
        "Role": 10011,
        "User": 10013,
        "Webhook": 10015,
        "interaction": 10062,
        "application command": 10063,
        "Application": 10002,
    }
    return Refusal(404, codes[what], f"Unknown {what}")


class FormErrors:
    """Collects what is wrong with a body, for one refusal that names it all (code 50035)."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}

    def add(self, path: tuple[str | int, ...], code: str, message: str) -> None:
        node = self.tree
        for part in path:
            node = node.setdefault(str(part), {})
        node.setdefault("_errors", []).append({"code": code, "message": message})

    def require(self, path: tuple[str | int, ...], value: object) -> bool:
        """True when ``value`` is there; else that is one of the errors."""
        if value in (None, ""):
            self.add(path, "BASE_TYPE_REQUIRED", "This field is required")
            return False
        return True

    def length(self, path: tuple[str | int, ...], value: str, low: int, high: int) -> None:
        if not low <= len(value) <= high:
            between = f"Must be between {low} and {high} in length."
            at_most = f"Must be {high} or fewer in length."
            self.add(path, "BASE_TYPE_BAD_LENGTH" if low else "BASE_TYPE_MAX_LENGTH", between if low else at_most)

    def check(self) -> None:
        """Raises one Refusal when anything was found."""
        if self.tree:
            raise Refusal(400, 50035, "Invalid Form Body", self.tree)
