"""Plot files (JSON, CSV, TSV as DVC writes them) of two runs → charts: curves over x, or a confusion matrix.

A plot file is data of a job that ran a pull request's code: whatever is not understood is left out.
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from trackside.documents.report import Plot, Series
from trackside.errors import DataError
from trackside.report import values

MAX_POINTS = 200
"""Points kept of a series; drawing resamples them further."""
MAX_ROWS = 50_000
MAX_CLASSES = 20
MAX_PLOTS = 12
MAX_LINES = 4
MAX_BYTES = 1024 * 1024

Row = Mapping[str, Any]

KNOWN: tuple[tuple[str, str, str, str, str], ...] = (
    ("fpr", "tpr", "ROC", "false positive rate", "true positive rate"),
    ("recall", "precision", "Precision and recall", "recall", "precision"),
    ("prob_pred", "prob_true", "Calibration", "predicted probability", "observed frequency"),
    ("mean_predicted", "fraction_positive", "Calibration", "predicted probability", "observed frequency"),
    ("predicted", "observed", "Calibration", "predicted probability", "observed frequency"),
)
"""x field, y field, title and axis labels of curves that have a name of their own."""

AXES = ("step", "epoch", "iteration", "iter", "round", "threshold", "x", "index", "time")
"""Fields that are the x axis of any other curve."""
PAIRS = (("actual", "predicted"), ("actual_class", "predicted_class"), ("label", "prediction"), ("y_true", "y_pred"))


def plots_of(baseline: Mapping[str, str], current: Mapping[str, str]) -> list[Plot]:
    """A plot for every file of this run that can be drawn, with the baseline's beside it. Names are paths."""
    made: list[Plot] = []
    for path in sorted(current):
        rows = _rows(path, current[path])
        before = _rows(path, baseline[path]) if path in baseline else []
        made += _confusion(path, before, rows) or _lines(path, before, rows)
        if len(made) >= MAX_PLOTS:
            break
    return made[:MAX_PLOTS]


def _rows(path: str, text: str) -> list[Row]:
    """Records of a file; empty when it holds none."""
    if len(text) > MAX_BYTES:
        return []
    if path.endswith((".csv", ".tsv")):
        reader = csv.DictReader(io.StringIO(text), delimiter="\t" if path.endswith(".tsv") else ",")
        try:
            return [row for row, _ in zip(reader, range(MAX_ROWS), strict=False)]
        except csv.Error:
            return []
    if not path.endswith(".json"):
        return []
    try:
        data = values.parse(path, text.encode())
    except DataError:
        return []
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        data = lists[0] if len(lists) == 1 else _columns(data)
    rows: list[Row] = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
    return rows[:MAX_ROWS]


def _columns(data: dict[str, Any]) -> list[Row]:
    """`{"fpr": [...], "tpr": [...]}` as records."""
    columns = {name: value for name, value in data.items() if isinstance(value, list)}
    if len({len(value) for value in columns.values()}) != 1:
        return []
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _confusion(path: str, before: list[Row], rows: list[Row]) -> list[Plot]:
    """Pairs of actual and predicted class (one a row, or with a `count`)."""
    pair = next((pair for pair in PAIRS if rows and all(field in rows[0] for field in pair)), None)
    if pair is None or (pair == ("label", "prediction") and len(rows[0]) > 3):
        return []
    labels = sorted({str(row.get(field)) for side in (before, rows) for row in side for field in pair})
    if not 2 <= len(labels) <= MAX_CLASSES:
        return []
    return [
        Plot(
            title=_named("Confusion matrix", path),
            kind="confusion",
            x_label="predicted",
            y_label="actual",
            labels=labels,
            baseline_matrix=_matrix(before, pair, labels),
            current_matrix=_matrix(rows, pair, labels),
        )
    ]


def _matrix(rows: list[Row], pair: tuple[str, str], labels: list[str]) -> list[list[float]]:
    if not rows:
        return []
    place = {label: index for index, label in enumerate(labels)}
    counts = [[0.0] * len(labels) for _ in labels]
    for row in rows:
        actual, predicted = (place.get(str(row.get(field))) for field in pair)
        if actual is not None and predicted is not None:
            counts[actual][predicted] += _number(row.get("count", 1)) or 0.0
    return counts


def _lines(path: str, before: list[Row], rows: list[Row]) -> list[Plot]:
    """One chart a y field with both runs in it."""
    fields = _numeric(rows)
    for x, y, title, x_label, y_label in KNOWN:
        if x in fields and y in fields:
            return list(_chart(_named(title, path), x, y, x_label, y_label, before, rows))
    x = next((name for name in AXES if name in fields), "")
    made: list[Plot] = []
    for y in [name for name in fields if name != x][:MAX_LINES]:
        made += _chart(_named(y, path), x, y, x or "row", y, before, rows)
    return made


def _numeric(rows: list[Row]) -> list[str]:
    if len(rows) < 2:
        return []
    return [
        str(name)
        for name in rows[0]
        if name is not None and all(_number(row.get(name)) is not None for row in rows[:50])
    ]


def _chart(
    title: str, x: str, y: str, x_label: str, y_label: str, before: list[Row], rows: list[Row]
) -> Iterator[Plot]:
    series = [
        Series(name=name, x=[point[0] for point in points], y=[point[1] for point in points])
        for name, side in (("baseline", before), ("this run", rows))
        if len(points := _points(side, x, y)) > 1
    ]
    if series and series[-1].name == "this run":
        yield Plot(title=title, kind="line", x_label=x_label, y_label=y_label, series=series)


def _points(rows: list[Row], x: str, y: str) -> list[tuple[float, float]]:
    """Points ascending in x, thinned evenly; the ends stay."""
    found = []
    for index, row in enumerate(rows):
        across, up = _number(row.get(x)) if x else float(index), _number(row.get(y))
        if across is not None and up is not None:
            found.append((across, up))
    found.sort()
    if len(found) <= MAX_POINTS:
        return found
    step = (len(found) - 1) / (MAX_POINTS - 1)
    return [found[round(index * step)] for index in range(MAX_POINTS)]


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            return values.number(float(value))
        except ValueError:
            return None
    return values.number(value)


def _title(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]


def _named(title: str, path: str) -> str:
    """The title, with the file's name where that says more."""
    stem = _title(path)
    return title if stem.lower().replace("_", " ") in title.lower() else f"{title} ({stem})"
