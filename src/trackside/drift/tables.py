"""Tables on this machine, batch by batch: Parquet, CSV, TSV and JSON lines, several files as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trackside.errors import DataError

BATCH = 64 * 1024
"""Rows that are in memory at a time (CSV is read by megabytes instead)."""
JSON_BYTES = 512 * 1024 * 1024
COLUMNS = 5000
"""A table with more columns is refused."""

Format = Literal["parquet", "csv", "tsv", "jsonl"]
ENDINGS: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl",
}  # fmt: skip


def format_of(path: Path) -> Format | None:
    """By the file's first bytes, else by its name (`.gz` may follow); None for what is no table."""
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return "parquet"
    suffixes = [one.lower() for one in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return ENDINGS.get(suffixes[-1]) if suffixes else None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Files with one row an example. `types` are Arrow types by column name; every CSV column is text (`loose`):
    what it holds is told by its values.
    """

    files: tuple[Path, ...]
    formats: tuple[Format, ...]
    types: dict[str, Any]
    loose: bool

    def batches(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Arrow arrays by column; a column that a file lacks is left out of that file's batches.

        Raises:
            DataError: a file cannot be read to its end.
        """
        for path, form in zip(self.files, self.formats, strict=True):
            with _readable(path):
                yield from _BATCHES[form](path, columns)


def open_table(files: Sequence[Path]) -> Table:
    """Look at the heads of files.

    Raises:
        DataError: no file, not a table, no columns, one name twice, or files that disagree about a column's type.
    """
    if not files:
        raise DataError("there is no file to read", link="drift.md", reason_code="current_missing")
    formats: list[Format] = []
    types: dict[str, Any] = {}
    for path in files:
        with _readable(path):
            form = format_of(path)
            if form is None:
                raise DataError(
                    f"{path.name} is no table that can be read",
                    why="it neither begins like Parquet nor ends in " + ", ".join(ENDINGS),
                    link="drift.md",
                    reason_code="table_unreadable",
                )
            schema = _SCHEMAS[form](path)
        _check_names(path, list(schema.names))
        formats.append(form)
        for field in schema:
            types.setdefault(field.name, field.type)
            if not _alike(types[field.name], field.type):
                raise DataError(
                    f"column {field.name[:100]!r} is {types[field.name]} in {files[0].name} and {field.type} "
                    f"in {path.name}",
                    link="drift.md",
                    reason_code="table_unreadable",
                )
            if str(types[field.name]) == "null":
                types[field.name] = field.type
    return Table(
        files=tuple(files), formats=tuple(formats), types=types, loose=any(one in ("csv", "tsv") for one in formats)
    )


def _check_names(path: Path, names: list[str]) -> None:
    if not names:
        raise DataError(f"{path.name} has no columns", link="drift.md", reason_code="table_unreadable")
    if len(names) > COLUMNS:
        raise DataError(
            f"{path.name} has {len(names):,} columns; at most {COLUMNS:,} are read", reason_code="table_unreadable"
        )
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"{path.name} has the column {twice[0][:100]!r} twice", reason_code="table_unreadable")


def _alike(one: Any, other: Any) -> bool:
    """Whether two files may share a column: the same kind of values, whatever their width."""
    from trackside.drift.columns import kind_of

    return "null" in (str(one), str(other)) or kind_of(one) == kind_of(other)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Errors of Arrow and the system in own words."""
    import pyarrow as pa

    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path.name} does not exist", link="drift.md", reason_code="current_missing") from error
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path.name} cannot be read as a table",
            why=" ".join(str(error).split())[:300],
            link="drift.md",
            reason_code="table_unreadable",
        ) from error


def _parquet_schema(path: Path) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.schema_arrow


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        # By index: a name with dots would be taken for a path into a nested column.
        there = [name for name in columns if name in file.schema_arrow.names]
        if any("." in name for name in there):
            batches = (
                group for at in range(file.num_row_groups) for group in file.read_row_group(at).to_batches(BATCH)
            )
        else:
            batches = file.iter_batches(BATCH, columns=there)
        for batch in batches:
            yield {name: batch.column(batch.schema.get_field_index(name)) for name in there}


def _csv_reader(path: Path, delimiter: str) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pc

    with pa.input_stream(str(path), compression="detect") as stream:
        head = stream.read(1024 * 1024)
    if not head.strip():
        raise DataError(f"{path.name} is empty", link="drift.md", reason_code="table_unreadable")
    if b"\0" in head:
        raise DataError(f"{path.name} is no text", link="drift.md", reason_code="table_unreadable")
    parse = pc.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pc.open_csv(str(path), parse_options=parse) as first:
        names = first.schema.names
    return pc.open_csv(
        str(path),
        parse_options=parse,
        convert_options=pc.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )


def _csv_schema(delimiter: str) -> Callable[[Path], Any]:
    def schema(path: Path) -> Any:
        with _csv_reader(path, delimiter) as reader:
            return reader.schema

    return schema


def _csv(delimiter: str) -> Callable[[Path, Sequence[str]], Iterator[dict[str, Any]]]:
    def batches(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        with _csv_reader(path, delimiter) as reader:
            for batch in reader:
                yield {name: batch.column(name) for name in columns if name in batch.schema.names}

    return batches


def _jsonl_table(path: Path) -> Any:
    """All of it: a type is known only at the end, so that size is what bounds the memory."""
    import pyarrow.json as pj

    if path.stat().st_size > JSON_BYTES:
        raise DataError(
            f"{path.name} has more than {JSON_BYTES:,} bytes of JSON",
            remedy="write Parquet, which is read in batches",
            link="drift.md",
            reason_code="table_unreadable",
        )
    return pj.read_json(str(path))


def _jsonl_schema(path: Path) -> Any:
    return _jsonl_table(path).schema


def _jsonl(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    table = _jsonl_table(path)
    for batch in table.to_batches(BATCH):
        yield {name: batch.column(name) for name in columns if name in table.column_names}


_SCHEMAS: dict[Format, Callable[[Path], Any]] = {
    "parquet": _parquet_schema,
    "csv": _csv_schema(","),
    "tsv": _csv_schema("\t"),
    "jsonl": _jsonl_schema,
}
_BATCHES: dict[Format, Callable[[Path, Sequence[str]], Iterator[dict[str, Any]]]] = {
    "parquet": _parquet,
    "csv": _csv(","),
    "tsv": _csv("\t"),
    "jsonl": _jsonl,
}
