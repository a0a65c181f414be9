"""The model's file: skops, which needs no pickle to load, written so that the same model always has the same bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile, ZipInfo

import skops.io

MODEL = Path("models/delay.skops")
HARMLESS = (
    "functools.partial",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
)
"""What this model needs beyond the types that skops trusts itself. A file that names any other type is refused."""


def save(model: object, path: Path = MODEL) -> int:
    """Write the model; returns the file's size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(stable(skops.io.dumps(model)))


def load(path: Path = MODEL) -> Any:
    """The model.

    Raises:
        skops.io.exceptions.UntrustedTypesFoundException: the file names a type that is not known to be harmless.
    """
    return skops.io.load(path, trusted=list(HARMLESS))


def stable(data: bytes) -> bytes:
    """The same model without what differs from run to run: addresses in memory, and the clock in the archive.

    skops numbers objects and names arrays by their address. Here both count up in the order of the schema. Nothing is
    compressed, because different builds of zlib make different bytes of the same data.
    """
    with ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files.pop("schema.json"))
    ids: dict[int, int] = {}
    names: dict[str, str] = {}
    for node in _nodes(schema):
        number, name = node.get("__id__"), node.get("file")
        if isinstance(number, int):
            node["__id__"] = ids.setdefault(number, len(ids))
        if isinstance(name, str):
            node["file"] = names.setdefault(name, f"{len(names)}{PurePosixPath(name).suffix}")
    out = io.BytesIO()
    with ZipFile(out, "w") as archive:
        for old, new in names.items():
            archive.writestr(ZipInfo(new), files[old])
        archive.writestr(ZipInfo("schema.json"), json.dumps(schema))
    return out.getvalue()


def _nodes(value: object) -> Iterator[dict[str, Any]]:
    """Every mapping in a JSON value, outermost first."""
    if isinstance(value, dict):
        yield value
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in below:
        yield from _nodes(item)
