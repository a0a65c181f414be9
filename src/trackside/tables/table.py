"""Several files as one table, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from trackside.errors import ConfigError, DataError
from trackside.tables.readers import ArrowPart, CsvPart, File, JsonPart, ParquetPart, Part, Piece, readable

COLUMNS = 5000
"""A table with more columns is refused."""

Format = Literal["parquet", "arrow", "stream", "csv", "tsv", "jsonl"]
ENDINGS: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
    ".arrows": "stream", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip
_BEGINNINGS: dict[bytes, Format] = {b"PAR1": "parquet", b"ARRO": "arrow", b"\xff\xff\xff\xff": "stream"}


def ending(name: str) -> Format | None:
    """The format that a name says; `.gz` may follow."""
    suffixes = [one.lower() for one in Path(name).suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return ENDINGS.get(suffixes[-1]) if suffixes else None


def format_of(file: File) -> Format | None:
    """By the first bytes, else by the name; None for what is no table."""
    with file.open() as stream:
        found = _BEGINNINGS.get(bytes(stream.read(4)))
    return found or ending(file.name)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Parts with one row an example. `types` are Arrow types by column name. Where a table is `loose`, what a column
    holds is told by its values: text files, and rows of a database.
    """

    parts: tuple[Part, ...]
    types: dict[str, Any]
    loose: bool

    @property
    def columnar(self) -> bool:
        """Whether a column is read without the others."""
        return all(one.columnar for one in self.parts)

    @property
    def rows(self) -> int | None:
        """None where they are not known before they are read.

        Raises:
            DataError: a part is damaged.
        """
        total = 0
        for part in self.parts:
            with readable(part.name):
                count = part.rows
            if count is None:
                return None
            total += count
        return total

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Rows and Arrow arrays by column; a column that a part lacks is left out of its pieces.

        Raises:
            DataError: a part cannot be read to its end.
        """
        for part in self.parts:
            with readable(part.name):
                yield from part.pieces(columns)

    def batches(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The arrays alone."""
        return (batch for _, batch in self.pieces(columns))

    def share(self, number: int, of: int) -> Table:
        """The `number`-th (from 1) of `of` shares, by row groups or files: together they are the table.

        Raises:
            ConfigError: there is no such share.
            DataError: a part is damaged.
        """
        if not 1 <= number <= of:
            raise ConfigError(f"there is no part {number} of {of}", remedy="--part 1/4 to --part 4/4", link="drift.md")
        units: list[Part] = []
        for part in self.parts:
            with readable(part.name):
                units += part.split()
        return replace(self, parts=tuple(units[(number - 1) * len(units) // of : number * len(units) // of]))


def open_table(files: Sequence[Path | File | Part]) -> Table:
    """Look at the heads of files.

    Raises:
        DataError: no file, not a table, no columns, one name twice, or files that disagree about a column's type.
    """
    if not files:
        raise DataError("there is no file to read", link="drift.md", reason_code="current_missing")
    parts: list[Part] = []
    types: dict[str, Any] = {}
    first: dict[str, str] = {}
    for one in files:
        file = File.here(one) if isinstance(one, Path) else one
        with readable(file.name):
            part = part_of(file) if isinstance(file, File) else file
            schema = part.schema
        _check_names(part.name, list(schema.names))
        parts.append(part)
        for field in schema:
            first.setdefault(field.name, part.name)
            types[field.name] = _agreed(field.name, types.get(field.name), field.type, first[field.name], part.name)
    loose = any(isinstance(one, CsvPart) or getattr(one, "loose", False) for one in parts)
    return Table(parts=tuple(parts), types=types, loose=loose)


def part_of(file: File) -> Part:
    """The reader for a file. Raises DataError for what is no table."""
    form = format_of(file)
    if form is None:
        raise DataError(
            f"{file.name} is no table that can be read",
            why="it neither begins like Parquet or Arrow nor ends in " + ", ".join(ENDINGS),
            link="drift.md",
            reason_code="table_unreadable",
        )
    if form == "parquet":
        return ParquetPart(file)
    if form in ("arrow", "stream"):
        return ArrowPart(file, stream=form == "stream")
    return JsonPart(file) if form == "jsonl" else CsvPart(file, "," if form == "csv" else "\t")


def _check_names(table: str, names: list[str]) -> None:
    if not names:
        raise DataError(f"{table} has no columns", link="drift.md", reason_code="table_unreadable")
    if len(names) > COLUMNS:
        raise DataError(
            f"{table} has {len(names):,} columns; at most {COLUMNS:,} are read", reason_code="table_unreadable"
        )
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"{table} has the column {twice[0][:100]!r} twice", reason_code="table_unreadable")


def _agreed(name: str, one: Any, other: Any, first: str, now: str) -> Any:
    """The type of a column that two parts share: the same kind of values, whatever their width; null is any."""
    from trackside.sketch.values import kind_of

    if one is None or str(one) == "null":
        return other
    if str(other) == "null":
        return one
    if kind_of(one) != kind_of(other):
        why = f"it is {one} in {first} and {other} in {now}"
    elif (zone_of(one) is None) != (zone_of(other) is None):
        why = f"mixed time zones: it is {one} in {first} and {other} in {now}"
    else:
        return one
    raise DataError(f"column {name[:100]!r} has two types", why=why, link="drift.md", reason_code="table_unreadable")


def zone_of(found: Any) -> str | None:
    """The time zone of an Arrow type of instants; None for local times and all else."""
    import pyarrow.types as t

    return found.tz if t.is_timestamp(found) else None
