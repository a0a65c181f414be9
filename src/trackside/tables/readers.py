"""Files of rows, by format: Parquet, Arrow, CSV, TSV and JSON lines, on this machine or where fsspec reaches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol

from trackside.errors import DataError

BATCH = 64 * 1024
"""Rows that are in memory at a time (text is read by megabytes instead)."""
BUFFER = 1024 * 1024
"""Bytes of a column that are read ahead."""
INDEX = 3
"""Bytes of an index into a dictionary; beside them there is the dictionary, of one `BUFFER` at most."""
BLOCK = 8 * 1024 * 1024
"""Bytes of JSON lines that are parsed at a time."""
LINE = 64 * 1024 * 1024
"""A longer line of JSON is refused."""

Piece = tuple[int, dict[str, Any]]
"""Rows of a batch, and its Arrow arrays by column."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file by its path; `system` is the fsspec file system that has it, None for this machine."""

    path: str
    system: Any = None

    @classmethod
    def here(cls, path: Path) -> File:
        return cls(path=str(path))

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]

    def open(self) -> Any:
        """For reading; Arrow's own file where it is on this machine."""
        import pyarrow as pa

        if self.system is None:
            if Path(self.path).is_dir():
                raise IsADirectoryError(f"{self.name} is a folder")
            return pa.OSFile(self.path, "rb")
        try:
            return self.system.open(self.path, "rb")
        except OSError:
            raise
        except Exception as error:  # drivers raise what they like, with logins in their words
            raise OSError(type(error).__name__) from None

    def text(self) -> Any:
        """Its bytes, unpacked where the name says that they are packed."""
        import pyarrow as pa

        packed = "gzip" if self.name.lower().endswith(".gz") else None
        return pa.input_stream(self.open(), compression=packed)


class Part(Protocol):
    """Rows of a table. `columnar`: a column alone is read without the others; `rows` is None where they are not known
    before they are read. Readers raise what Arrow and the system raise.
    """

    @property
    def name(self) -> str: ...

    @property
    def columnar(self) -> bool: ...

    @property
    def rows(self) -> int | None: ...

    @property
    def schema(self) -> Any: ...

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]: ...

    def split(self) -> Sequence[Part]:
        """In parts that can be read apart, in order."""


def _there(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    known = set(names)
    return [name for name in columns if name in known]


@dataclass(frozen=True)
class ParquetPart:
    """`groups` are the row groups to read; None is all."""

    file: File
    groups: tuple[int, ...] | None = None
    columnar: bool = True

    @property
    def name(self) -> str:
        return self.file.name

    @cached_property
    def _head(self) -> Any:
        import pyarrow.parquet as pq

        with self.file.open() as raw, pq.ParquetFile(raw) as file:
            return file.metadata

    @property
    def schema(self) -> Any:
        return self._head.schema.to_arrow_schema()

    @property
    def _groups(self) -> list[int]:
        return list(range(self._head.num_row_groups)) if self.groups is None else list(self.groups)

    @property
    def rows(self) -> int:
        return sum(self._head.row_group(at).num_rows for at in self._groups)

    def _few_levels(self, name: str) -> bool:
        """Whether text was written as indices throughout, by its size: a writer gives up where texts are many.

        By the column's place: Arrow ends the process where it is asked for the name of a damaged one.
        """
        names = self.schema.names
        if self._head.num_columns != len(names):  # nested columns lie in several
            return False
        at = names.index(name)
        for group in self._groups:
            chunk = self._head.row_group(group).column(at)
            if chunk.total_uncompressed_size > INDEX * chunk.num_values + BUFFER:
                return False
        return True

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Text of few levels comes as a dictionary: counting indices is cheaper than counting words."""
        import pyarrow.parquet as pq
        import pyarrow.types as t

        schema = self.schema
        there = _there(columns, schema.names)
        if not self._groups:
            return
        if not there:
            yield from ((self._head.row_group(at).num_rows, {}) for at in self._groups)
            return
        coded = [name for name in there if t.is_string(schema.field(name).type) and self._few_levels(name)]
        far = self.file.system is not None
        with (
            self.file.open() as raw,
            pq.ParquetFile(
                raw, metadata=self._head, read_dictionary=coded, buffer_size=0 if far else BUFFER, pre_buffer=far
            ) as file,
        ):
            for batch in file.iter_batches(BATCH, row_groups=self._groups, columns=there, use_threads=False):
                yield batch.num_rows, {name: batch.column(batch.schema.get_field_index(name)) for name in there}

    def split(self) -> Sequence[Part]:
        return [replace(self, groups=(at,)) for at in self._groups]


@dataclass(frozen=True)
class ArrowPart:
    """Arrow's own format (Feather is the same): a file with an index, or a stream. `only` are the batches to read."""

    file: File
    stream: bool = False
    only: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def columnar(self) -> bool:
        return not self.stream

    @cached_property
    def schema(self) -> Any:
        import pyarrow as pa

        with self.file.open() as raw:
            return (pa.ipc.open_stream(raw) if self.stream else pa.ipc.open_file(raw)).schema

    @cached_property
    def rows(self) -> int | None:
        if self.stream:
            return None
        return sum(rows for rows, _ in self._batches(list(self.schema.names)[:1]))

    def _batches(self, columns: Sequence[str]) -> Iterator[Piece]:
        import pyarrow as pa

        there = _there(columns, self.schema.names)
        chosen = [self.schema.get_field_index(name) for name in there]
        options = pa.ipc.IpcReadOptions(included_fields=chosen, use_threads=False)
        with self.file.open() as raw:
            if self.stream:
                found = iter(pa.ipc.open_stream(raw, options=options))
            else:
                file = pa.ipc.open_file(raw, options=options)
                numbers = range(file.num_record_batches) if self.only is None else self.only
                found = (file.get_batch(at) for at in numbers)
            for batch in found:
                batch.validate(full=True)  # a damaged offset would be followed
                yield batch.num_rows, {name: batch.column(batch.schema.get_field_index(name)) for name in there}

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        for rows, batch in self._batches(columns):
            for start in range(0, rows, BATCH):
                size = min(BATCH, rows - start)
                yield size, {name: array.slice(start, size) for name, array in batch.items()}

    def split(self) -> Sequence[Part]:
        import pyarrow as pa

        if self.stream:
            return [self]
        with self.file.open() as raw:
            count = pa.ipc.open_file(raw).num_record_batches
        return [replace(self, only=(at,)) for at in range(count)]


@dataclass(frozen=True)
class CsvPart:
    """Every column is text: what it holds is told by its values."""

    file: File
    delimiter: str = ","
    columnar: bool = False
    rows: int | None = None

    @property
    def name(self) -> str:
        return self.file.name

    @cached_property
    def schema(self) -> Any:
        import pyarrow as pa
        import pyarrow.csv as pc

        with self.file.text() as stream:
            head = stream.read(BUFFER)
        if not head.strip():
            raise ValueError("it is empty")
        if b"\0" in head:
            raise ValueError("it is no text")
        with self.file.text() as stream, pc.open_csv(stream, parse_options=self._parse) as first:
            return pa.schema([(name, pa.string()) for name in first.schema.names])

    @property
    def _parse(self) -> Any:
        import pyarrow.csv as pc

        return pc.ParseOptions(delimiter=self.delimiter, newlines_in_values=True)

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        import pyarrow as pa
        import pyarrow.csv as pc

        there = _there(columns, self.schema.names)
        options = pc.ConvertOptions(
            column_types=dict.fromkeys(self.schema.names, pa.string()),
            include_columns=there or self.schema.names[:1],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        )
        with (
            self.file.text() as stream,
            pc.open_csv(stream, parse_options=self._parse, convert_options=options) as reader,
        ):
            for batch in reader:
                yield batch.num_rows, {name: batch.column(name) for name in there}

    def split(self) -> Sequence[Part]:
        return [self]


@dataclass(frozen=True)
class JsonPart:
    """One object a line, parsed in blocks: the types of all blocks are known first, then every block takes them."""

    file: File
    columnar: bool = False
    rows: int | None = None

    @property
    def name(self) -> str:
        return self.file.name

    def _blocks(self) -> Iterator[bytes]:
        """Whole lines, some megabytes at a time."""
        with self.file.text() as stream:
            yield from blocks(stream)

    @cached_property
    def schema(self) -> Any:
        import pyarrow as pa
        import pyarrow.json as pj

        found: Any = None
        for block in self._blocks():
            now = pj.read_json(pa.BufferReader(block), pj.ReadOptions(block_size=len(block) + 1)).schema
            found = now if found is None else _joined(found, now)
        if found is None:
            raise ValueError("it is empty")
        return found

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        import pyarrow as pa
        import pyarrow.json as pj

        there = _there(columns, self.schema.names)
        parse = pj.ParseOptions(explicit_schema=self.schema)
        for block in self._blocks():
            table = pj.read_json(pa.BufferReader(block), pj.ReadOptions(block_size=len(block) + 1), parse_options=parse)
            for batch in table.to_batches(BATCH):
                yield batch.num_rows, {name: batch.column(name) for name in there}

    def split(self) -> Sequence[Part]:
        return [self]


def blocks(stream: IO[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """Bytes cut at line ends. Raises ValueError for a line longer than `LINE`."""
    left = b""
    while read := stream.read(size):
        whole, mark, rest = read.rpartition(b"\n")
        if not mark:
            left += read
            if len(left) > LINE:
                raise ValueError(f"a line has more than {LINE:,} bytes")
            continue
        if (block := left + whole + mark).strip():
            yield block
        left = rest
    if left.strip():
        yield left


def _joined(one: Any, other: Any) -> Any:
    """One schema for two blocks; text that looked like dates in one of them is text."""
    import pyarrow as pa
    import pyarrow.types as t

    def plain(schema: Any, beside: Any) -> Any:
        fields = [
            field.with_type(pa.string())
            if t.is_timestamp(field.type)
            and beside.get_field_index(field.name) >= 0
            and t.is_string(beside.field(field.name).type)
            else field
            for field in schema
        ]
        return pa.schema(fields)

    return pa.unify_schemas([plain(one, other), plain(other, one)], promote_options="permissive")


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Errors of Arrow, fsspec and the system in own words."""
    import pyarrow as pa

    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist", link="drift.md", reason_code="current_missing") from error
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(
            f"{name} cannot be read as a table",
            why=" ".join(str(error).split())[:300],
            link="drift.md",
            reason_code="table_unreadable",
        ) from error
