"""Documents ↔ JSON: strict types in, stable bytes out, fields of a newer version carried through."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

from trackside.errors import DataError

MAX_BYTES = 1024 * 1024
"""A document larger than this is refused unread: it may come from a job that ran a pull request's code."""

T = TypeVar("T", bound="Document")


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all documents; sub-classes set `schema` to `trackside.<kind>/<version>`."""

    schema: str

    @classmethod
    def kind(cls) -> str:
        """The value that `schema` must have."""
        return _kind(cls)


@cache
def _kind(document: type[Document]) -> str:
    """Asked for every record that is read: looking the types of all fields up each time takes longer than reading."""
    return str(next(f for f in msgspec.structs.fields(document) if f.name == "schema").default)


def to_builtins(value: Any) -> Any:
    """Plain dicts, lists and scalars."""
    return msgspec.to_builtins(value)


def load(kind: type[T], data: bytes, *, name: str = "document", limit: int = MAX_BYTES) -> T:
    """Parse and check a document.

    Raises:
        DataError: too large, not JSON, another kind or version, a field missing or of the wrong type.
    """
    if len(data) > limit:
        raise DataError(f"{name} has {len(data):,} bytes; at most {limit:,} are read", reason_code="document_too_large")
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{name} is not JSON", why=str(error), reason_code="document_invalid") from error
    return from_builtins(kind, raw, name=name)


def from_builtins(kind: type[T], raw: Any, *, name: str = "document") -> T:
    """Check plain data and turn it into a document. Raises DataError like `load`."""
    found = raw.get("schema") if isinstance(raw, dict) else None
    if found != kind.kind():
        raise DataError(
            f"{name} is of schema {str(found)[:80]!r}; expected {kind.kind()!r}", reason_code="document_invalid"
        )
    try:
        return msgspec.convert(raw, kind, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise DataError(
            f"{name} does not match {kind.kind()}", why=str(error), reason_code="document_invalid"
        ) from error


def dump(document: Document, *, known: Any = None) -> bytes:
    """Stable, indented JSON with sorted keys and a newline at the end.

    `known` is the plain data that an older copy was read from: fields that this version has no name for are kept.
    """
    plain = msgspec.to_builtins(document)
    if known is not None:
        plain = _keep_unknown(plain, known)
    return msgspec.json.format(msgspec.json.encode(plain, order="sorted"), indent=2) + b"\n"


def _keep_unknown(new: Any, old: Any) -> Any:
    """`new` plus what only `old` has; lists of equal length are matched by place."""
    if isinstance(new, dict) and isinstance(old, dict):
        return {
            **{k: v for k, v in old.items() if k not in new},
            **{k: _keep_unknown(v, old.get(k)) for k, v in new.items()},
        }
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [_keep_unknown(a, b) for a, b in zip(new, old, strict=True)]
    return new


def schema(kind: type[Document]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a document, generated from its type; unknown fields are allowed."""
    made = msgspec.json.schema(kind)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.kind(), **made}
