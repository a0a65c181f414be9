"""Which outputs look like models and predictions, and which way a metric gets better: from names alone."""

from __future__ import annotations

import csv
import json
import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from trackside.adopt.scan import Stage, Tree, text_of
from trackside.report.names import ALIASES, DIRECTIONS

_MODEL_SUFFIX = re.compile(
    r"\.(bin|bst|cbm|ckpt|gguf|h5|hdf5|joblib|keras|lgb|mlmodel|model|onnx|pb|pickle|pkl|pt|pth|safetensors|skops|tflite"
    r"|ubj|xgb)"
)
_DATA_SUFFIX = re.compile(r"\.(arrow|csv|feather|gz|html|jpg|json|jsonl|log|md|npy|npz|parquet|png|svg|tsv|txt|ya?ml)")
_DATA_FOLDER = re.compile(r"data|datasets?|features|interim|prepared|processed|raw")
_MODEL_FOLDER = re.compile(r"models?|checkpoints?|weights")
_NAMELESS = re.compile(
    r"best|checkpoints?|classifier|clf|estimator|final|latest|models?|pipeline|regressor|weights", re.IGNORECASE
)
_LOWER_IS_BETTER = re.compile(
    r"loss|error|err|mse|rmse|mae|mape|smape|brier|perplexity|wer|cer|fpr|fnr|divergence|deviance|ece|latency"
)
_HIGHER_IS_BETTER = re.compile(
    r"acc|accuracy|auc|auroc|auprc|f1|f2|fbeta|precision|recall|specificity|sensitivity|r2|map|ap|ndcg|mrr|bleu|rouge"
    r"|mcc|kappa|iou|dice|score|tpr|gini|ks"
)
MAX_METRICS = 40
_TABLES = (".csv", ".parquet")
_LABELS = ("label", "y_true", "target", "actual", "truth", "true", "y")
_SCORES = ("score", "y_score", "probability", "prob", "proba", "prediction", "predicted", "pred", "y_pred", "y_prob")
_IDS = ("id", "row_id", "example_id", "index", "key")
MAX_SLICES = 5


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number of a metrics file, by dotted path."""

    name: str
    file: str
    direction: Literal["max", "min", "none"]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of predictions. Without its columns nothing but the file is known."""

    file: str
    label: str = ""
    score: str = ""
    id: str = ""
    slices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A model: the stages that make and judge it (empty: all), and what they write."""

    name: str
    path: str
    stages: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    metric_files: tuple[str, ...] = ()
    predictions: Table | None = None


def is_model(path: str) -> bool:
    """Whether an output is a model, by its suffix and the folders it is in."""
    folders = {part.lower() for part in path.split("/")[:-1]}
    base = posixpath.basename(path).lower()
    suffix = posixpath.splitext(base)[1]
    kept = any(_MODEL_FOLDER.fullmatch(folder) for folder in folders)
    if any(_DATA_FOLDER.fullmatch(folder) for folder in folders) or "pred" in base:
        return False
    if _MODEL_SUFFIX.fullmatch(suffix):
        return True
    if _DATA_SUFFIX.fullmatch(suffix):
        return kept and suffix in (".json", ".txt") and "model" in base
    return bool(_MODEL_FOLDER.fullmatch(base)) or (kept and not suffix)


def direction(name: str) -> Literal["max", "min", "none"]:
    """Which way a metric gets better, by the words of its last part; none where the name says nothing."""
    last = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rsplit(".", 1)[-1]).lower().replace("-", "_")
    known = ALIASES.get(last, last)
    if known in DIRECTIONS:
        return DIRECTIONS[known]
    words = re.split(r"[\W_]+", last)
    if any(_LOWER_IS_BETTER.fullmatch(word) for word in words):
        return "min"
    return "max" if any(_HIGHER_IS_BETTER.fullmatch(word) for word in words) else "none"


def candidates(tree: Tree, outputs: Sequence[str] = ()) -> tuple[Candidate, ...]:
    """The models of a pipeline: the outputs named, else those that look like models."""
    makers = {out: stage for stage in tree.stages for out in stage.outs}
    found = [out for out in makers if (out in outputs if outputs else is_model(out))]
    made: list[Candidate] = []
    taken: set[str] = set()
    for path in found:
        name = _name(path, tree.root, taken)
        taken.add(name)
        stages = _stages_of(path, makers[path], tree.stages, found) if len(found) > 1 else list(tree.stages)
        files = tuple(dict.fromkeys(file for stage in stages for file in stage.metrics))
        made.append(
            Candidate(
                name=name,
                path=path,
                stages=tuple(stage.name for stage in stages if stage.name) if len(found) > 1 else (),
                metric_files=files,
                metrics=tuple(_metrics(tree.root, files)),
                predictions=_predictions(tree.root, stages),
            )
        )
    return tuple(made)


def _name(path: str, root: Path, taken: Iterable[str]) -> str:
    """A model's name from its file, its folder, or the repository where these say nothing."""
    parts = [posixpath.splitext(posixpath.basename(path))[0], *reversed(path.split("/")[:-1])]
    words = [one for one in map(plain, parts) if one and not _NAMELESS.fullmatch(one)]
    name = words[0] if words else plain(root.resolve().name) or "model"
    numbered = (f"{name[:90]}-{number}" for number in range(2, 1000))
    return next(one for one in (name, *numbered) if one not in taken)


def plain(name: str) -> str:
    """Letters, digits, `-` and `_`, as model names allow; may be empty."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:100].strip("-_")


def _stages_of(path: str, maker: Stage, stages: Sequence[Stage], models: Sequence[str]) -> list[Stage]:
    """The stage that makes a model and those after it that make no other one."""
    chosen, known = [maker], {path, *maker.outs}
    grew = True
    while grew:
        grew = False
        for stage in stages:
            others = any(out in models and out != path for out in stage.outs)
            if stage not in chosen and not others and known & set(stage.deps):
                chosen.append(stage)
                known |= {*stage.outs, *stage.metrics}
                grew = True
    return [stage for stage in stages if stage in chosen]


def _metrics(root: Path, files: Sequence[str]) -> list[Metric]:
    made: dict[str, Metric] = {}
    for file in files:
        for name in _numbers(_loaded(root, file)):
            if name not in made and len(made) < MAX_METRICS:
                made[name] = Metric(name=name, file=file, direction=direction(name))
    return list(made.values())


def _loaded(root: Path, file: str) -> Any:
    text = text_of(root, file)
    try:
        return json.loads(text) if file.endswith(".json") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        return None


def _numbers(value: Any, prefix: str = "", depth: int = 0) -> list[str]:
    """Dotted names of all finite numbers."""
    if not isinstance(value, Mapping) or depth > 8:
        return []
    made: list[str] = []
    for key, one in value.items():
        name = f"{prefix}{key}"
        if isinstance(one, Mapping):
            made += _numbers(one, f"{name}.", depth + 1)
        elif isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) and _sayable(name):
            made.append(name)
    return made


def _sayable(name: str) -> bool:
    return (
        0 < len(name) <= 200
        and all(ord(char) >= 32 and not 0x7F <= ord(char) <= 0x9F for char in name)
        and (name.isascii() or name.encode("utf-8", "ignore").decode() == name)
    )


def _predictions(root: Path, stages: Sequence[Stage]) -> Table | None:
    for stage in stages:
        for out in stage.outs:
            if "pred" in posixpath.basename(out).lower() and out.lower().endswith(_TABLES):
                return _columns(root, out)
    return None


def _columns(root: Path, file: str) -> Table:
    """The table with its columns by their usual names, as far as the file is here."""
    names, texts = _header(root / file)
    lower = {name.lower(): name for name in names if _sayable(name)}
    label, score, row = (next((lower[one] for one in known if one in lower), "") for known in (_LABELS, _SCORES, _IDS))
    if not label or not score:
        return Table(file=file)
    slices = [name for name in texts if name not in (label, score, row) and _sayable(name)]
    return Table(file=file, label=label, score=score, id=row, slices=tuple(slices[:MAX_SLICES]))


def _header(path: Path) -> tuple[list[str], list[str]]:
    """All columns, and those that hold text; empty where the file is not here or cannot be read."""
    if path.is_symlink() or not path.is_file():
        return [], []
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            try:
                rows = csv.reader(file)
                names, first = next(rows, []), next(rows, [])
            except csv.Error:
                return [], []
        texts = [name for name, value in zip(names, first, strict=False) if not _is_number(value)]
        return names, texts
    try:
        from pyarrow import ArrowException, types
        from pyarrow.parquet import read_schema

        schema = read_schema(path)
    except (ImportError, OSError, ArrowException):
        return [], []
    kinds = {field.name: field.type for field in schema}
    return list(kinds), [name for name, kind in kinds.items() if types.is_string(kind) or types.is_dictionary(kind)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
