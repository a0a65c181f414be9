"""Two tables as a check meets them: 20 columns of numbers and 10 of categories, three of which have moved."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 1_000_000
LEVELS = (2, 3, 5, 8, 12, 24, 50, 120, 365, 1000)
NUMBERS = 20


def group(rng: np.random.Generator, rows: int, *, moved: bool) -> pa.Table:
    """Continuous, heavy-tailed, whole, zero-inflated and rounded numbers by turns, some of them missing."""
    columns: dict[str, pa.Array] = {}
    for at in range(NUMBERS):
        shift = 0.3 if moved and at in (0, 11) else 0.0
        normal = rng.normal(shift, 1.0, rows)
        values = (
            normal,
            np.exp(normal),
            np.floor(40 + 12 * normal),
            np.where(rng.random(rows) < 0.6, 0.0, np.exp(normal)),
            np.round(20 * normal, 2),
        )[at % 5]
        columns[f"n{at:02d}"] = pa.array(values, mask=rng.random(rows) < 0.01 if at % 4 == 3 else None)
    for at, levels in enumerate(LEVELS):
        shares = 1.0 / np.arange(1, levels + 1)
        if moved and at == 3:
            shares = shares**0.7
        codes = rng.choice(levels, rows, p=shares / shares.sum())
        names = pa.array([f"level {at} {one}" for one in range(levels)])
        columns[f"c{at:02d}"] = names.take(pa.array(codes))
    return pa.table(columns)


def write(path: Path, rows: int, seed: int, *, moved: bool) -> None:
    """One file, a row group a million rows."""
    rng = np.random.default_rng(seed)
    part = path.with_suffix(".part")
    writer: pq.ParquetWriter | None = None
    for begin in range(0, rows, GROUP):
        table = group(rng, min(GROUP, rows - begin), moved=moved)
        writer = writer or pq.ParquetWriter(part, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    part.rename(path)


def both(folder: Path, rows: int) -> tuple[Path, Path]:
    """Reference and current data of so many rows each; made once."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{rows}-reference.parquet", folder / f"{rows}-current.parquet"
    for seed, path in enumerate(made):
        if not path.exists():
            write(path, rows, seed, moved=seed == 1)
    return made


if __name__ == "__main__":
    both(Path(sys.argv[1]), int(sys.argv[2]))
