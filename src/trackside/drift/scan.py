"""One pass over a table in bounded memory: every column counted by its own thread, or every batch shared among them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from trackside.sketch.column import Sketch
    from trackside.sketch.values import Kind
    from trackside.tables.table import Table

THREADS = 2
"""Columns that are read at a time, each with a batch in memory: what a small runner has of cores."""

Progress = Callable[[int], None]
"""Told of values read since the last call, from any thread."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is wrong with the data itself, beside any distribution: `words` say it, `column` is whose it is."""

    column: str
    test: str
    words: str
    kind: Literal["invalid_data", "warning"] = "invalid_data"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A table as counted: `columns` by name, of `rows` rows each. `absent` columns no file has; `retyped` ones, by the
    type found, cannot be of the kind that was asked for.
    """

    rows: int
    columns: Mapping[str, Sketch] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    retyped: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class Sink(Protocol):
    """Takes some columns of a table, batch by batch and in order."""

    @property
    def columns(self) -> Sequence[str]: ...

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        """Arrow arrays by column; a column that a file lacks is not among them. `rows` is the batch's length."""


def scan(
    table: Table, kinds: Mapping[str, Kind | None], *, sinks: Sequence[Sink] = (), progress: Progress | None = None
) -> Scan:
    """Count the columns that `kinds` names, and feed `sinks` on the way. Where a kind is None the values tell it: of
    text files alone.

    Raises:
        DataError: a file cannot be read to its end.
    """
    from trackside.sketch.column import ColumnCounter
    from trackside.sketch.loose import LooseCounter

    absent = tuple(name for name in kinds if name not in table.types)
    retyped = {
        name: _called(table.types[name])
        for name, kind in kinds.items()
        if kind is not None and name not in absent and not comparable(kind, table.types[name], loose=table.loose)
    }
    counted = {
        name: LooseCounter() if kind is None else ColumnCounter(kind)
        for name, kind in kinds.items()
        if name not in absent and name not in retyped
    }
    rows = feed(table, [*(_Column(name, one) for name, one in counted.items()), *sinks], progress)
    return Scan(rows=rows, columns={name: one.done() for name, one in counted.items()}, absent=absent, retyped=retyped)


def _called(arrow: Any) -> str:
    """A type in a person's words: Arrow has four for a text."""
    from trackside.sketch.values import kind_of

    return "text" if kind_of(arrow) == "category" else str(arrow)


def comparable(kind: Kind, found: Any, *, loose: bool) -> bool:
    """Whether values of an Arrow type can be of a kind. Of loose tables the values tell; nulls are any kind."""
    from trackside.sketch.values import kind_of

    if loose or str(found) == "null":
        return True
    now = kind_of(found)
    if kind in ("boolean", "number"):
        return now in ("boolean", "number")
    return now == kind


class _Column:
    """A sink that counts one column."""

    def __init__(self, name: str, counter: Any) -> None:
        self.columns = (name,)
        self._name, self._counter = name, counter

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        if self._name in batch:
            self._counter.add(batch[self._name])
        else:
            self._counter.add_absent(rows)


def feed(table: Table, sinks: Sequence[Sink], progress: Progress | None = None) -> int:
    """Every sink sees every batch of its columns. Returns the number of rows.

    A table by columns is read once a sink, the sinks in threads; a table by rows once, its sinks in threads batch by
    batch.
    """
    told = locked(progress)
    if table.columnar and table.rows is not None:
        _by_column(table, sinks, told)
        return table.rows
    return _by_row(table, sinks, told)


def locked(progress: Progress | None) -> Progress:
    """For several threads."""
    if progress is None:
        return lambda values: None
    lock, tell = threading.Lock(), progress

    def told(values: int) -> None:
        with lock:
            tell(values)

    return told


def _by_column(table: Table, sinks: Sequence[Sink], told: Progress) -> None:
    stop = threading.Event()

    def read(sink: Sink) -> None:
        for rows, batch in table.pieces(sink.columns):
            if stop.is_set():
                return
            sink.add(batch, rows)
            told(rows * len(sink.columns))

    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(read, sink) for sink in sinks]
        try:
            for one in waiting:
                one.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _by_row(table: Table, sinks: Sequence[Sink], told: Progress) -> int:
    names = list(dict.fromkeys(name for sink in sinks for name in sink.columns)) or list(table.types)[:1]
    total = 0
    shares = [sinks[at::THREADS] for at in range(THREADS)]

    def add(share: Sequence[Sink], batch: Mapping[str, Any], rows: int) -> None:
        for sink in share:
            sink.add({name: batch[name] for name in sink.columns if name in batch}, rows)

    with ThreadPoolExecutor(THREADS) as pool:
        for rows, batch in table.pieces(names):
            for done in [pool.submit(add, share, batch, rows) for share in shares]:
                done.result()
            told(rows * len(names))
            total += rows
    return total
