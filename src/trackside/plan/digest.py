"""The digest of everything that decides a pipeline's outputs: equal digests, equal training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trackside.documents.run import Dependency

SCHEMA = "trackside.inputs/1"


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces; 1, 1.0, true and "1" stay apart."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """`sha256:` and 64 hex digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def listing_digest(rows: Iterable[tuple[str, str, bool]]) -> str:
    """Digest of a folder from (path within it, hex sha256 of content, executable) rows, in any order."""
    return sha256(canonical(sorted([path, digest, executable] for path, digest, executable in rows)))


def input_digest(
    *,
    targets: Sequence[str],
    stages: Sequence[Mapping[str, Any]],
    dependencies: Sequence[Dependency],
    executable: Sequence[str] = (),
) -> str:
    """The digest over what the stages run, with which parameters, on what.

    Args:
        targets: the model's own stages.
        stages: plain data per stage (its own and those before it).
        dependencies: what no stage makes; size and number of files do not count.
        executable: dependencies that are executable files.
    """
    return sha256(
        canonical(
            {
                "schema": SCHEMA,
                "targets": sorted(targets),
                "stages": sorted(stages, key=lambda stage: str(stage["name"])),
                "dependencies": sorted([d.kind, d.path, d.digest] for d in dependencies),
                "executable": sorted(executable),
            }
        )
    )
