"""HTTP error answers, in GitHub's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Problem(Exception):
    """An HTTP error answer. `errors` is GitHub's list of details of a 422."""

    def __init__(
        self, status: int, message: str, *, errors: list[Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.errors, self.headers = status, message, errors, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON that GitHub sends with an error."""
        made: dict[str, Any] = {"message": self.message, "documentation_url": "https://docs.github.com/rest"}
        if self.errors:
            made["errors"] = self.errors
        return made | {"status": str(self.status)}


def not_found() -> Problem:
    return Problem(404, "Not Found")


def invalid(resource: str, field: str, code: str = "invalid", message: str = "") -> Problem:
    """A 422 about one field of a resource."""
    error = {"resource": resource, "field": field, "code": code}
    if message:
        error["message"] = message
    return Problem(422, "Validation Failed", errors=[error])
