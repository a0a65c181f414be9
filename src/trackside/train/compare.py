"""This run's predictions against its baseline's: reads both tables, pairs their rows, asks the statistics."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackside.config.model import Predictions
from trackside.documents.run import Comparison
from trackside.errors import DataError

MAX_BYTES = 2 * 1024**3
MAX_ROWS = 20_000_000
MAX_SLICES = 20


def compare(
    current: bytes,
    baseline: bytes,
    predictions: Predictions,
    *,
    metrics: Sequence[str],
    level: float,
    baseline_run: str,
) -> Comparison:
    """Both tables' scores on the rows that they share.

    With an `id` column rows are paired by it, else by order; either way both must give a row the same label.

    Args:
        current: the file of this run, Parquet or CSV by the ending of `predictions.file`.
        baseline: likewise of the baseline.
        metrics: names to compare.

    Raises:
        DataError: a column is missing, rows cannot be paired, or values cannot be compared.
    """
    from trackside.report.statistics import compare_predictions

    columns = [predictions.label, predictions.score, *predictions.slices[:MAX_SLICES]]
    columns += [predictions.id] if predictions.id else []
    now = _read(current, predictions.file, columns, "this run's predictions")
    then = _read(
        baseline, predictions.file, columns[:2] + columns[len(columns) - bool(predictions.id) :], "the baseline's"
    )
    pairs = _pair(now, then, predictions)
    made = compare_predictions(
        pairs.label,
        pairs.baseline,
        pairs.current,
        metrics=metrics,
        slices={name: pairs.take(now[name]) for name in predictions.slices[:MAX_SLICES]},
        level=level,
        baseline_run=baseline_run,
    )
    if not pairs.note:
        return made
    import msgspec

    return msgspec.structs.replace(made, note="; ".join(note for note in (pairs.note, made.note) if note))


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Arrays of equal length; `rows` are the places in this run's table."""

    label: Any
    current: Any
    baseline: Any
    rows: Any
    note: str

    def take(self, column: Any) -> Any:
        return column[self.rows]


def _read(data: bytes, name: str, columns: Sequence[str], whose: str) -> dict[str, Any]:
    """Columns as numpy arrays, shape (rows,)."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if name.endswith((".parquet", ".pq")):
            table = parquet.ParquetFile(io.BytesIO(data))
            if table.metadata.num_rows > MAX_ROWS:
                raise DataError(f"{whose}: {table.metadata.num_rows:,} rows; at most {MAX_ROWS:,} are compared")
            names = table.schema_arrow.names
            found = table.read(columns=[column for column in dict.fromkeys(columns) if column in names])
        else:
            found = csv.read_csv(io.BytesIO(data))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{whose} cannot be read", why=str(error)[:300]) from error
    missing = [column for column in columns if column not in found.column_names]
    if missing:
        raise DataError(
            f"{whose} lack column {', '.join(missing)}",
            why="columns: " + ", ".join(found.column_names[:30]),
            remedy="name the columns under `predictions:` in trackside.yaml",
        )
    if found.num_rows == 0:
        raise DataError(f"{whose} have no rows")
    return {column: found.column(column).to_numpy(zero_copy_only=False) for column in dict.fromkeys(columns)}


def _pair(now: dict[str, Any], then: dict[str, Any], predictions: Predictions) -> _Pairs:
    import numpy as np

    label, score = predictions.label, predictions.score
    note = ""
    if predictions.id:
        mine, theirs = now[predictions.id].astype(str), then[predictions.id].astype(str)
        if len(np.unique(mine)) != len(mine) or len(np.unique(theirs)) != len(theirs):
            raise DataError(f"column {predictions.id!r} does not name rows uniquely")
        _, rows, others = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
        if len(rows) == 0:
            raise DataError("no row of the baseline's predictions is among this run's")
        if len(rows) < max(len(mine), len(theirs)):
            note = f"{len(rows):,} rows in both; {len(mine):,} here, {len(theirs):,} in the baseline"
        order = np.argsort(rows)
        rows, others = rows[order], others[order]
    else:
        if len(now[label]) != len(then[label]):
            raise DataError(
                f"{len(now[label]):,} rows here, {len(then[label]):,} in the baseline: not the same examples",
                remedy="add a row id to the predictions and name it as `id`",
            )
        rows = others = np.arange(len(now[label]))
    if not np.array_equal(now[label][rows], then[label][others]):
        raise DataError(
            "labels differ between the runs: not the same examples",
            why="the evaluation data changed",
            remedy="" if predictions.id else "add a row id to the predictions and name it as `id`",
        )
    return _Pairs(label=now[label][rows], current=now[score][rows], baseline=then[score][others], rows=rows, note=note)


def read_limited(path: Path) -> bytes:
    """A predictions file. Raises DataError above `MAX_BYTES`."""
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path.name} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are compared")
    return path.read_bytes()
