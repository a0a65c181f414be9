"""Renew GitHub's OpenAPI description that the sandbox validates against: `python scripts/renew_openapi.py [version]`.

Fetches the npm package `@octokit/openapi` (MIT), keeps the description of github.com, lets nullable enums be null
(the description forgets to), drops discriminators that call a list an "array" (a list has no property to tell it by)
and server overrides of single operations.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[1] / "src/trackside/sandbox/data"


def mend(node: Any) -> None:
    """Add null to nullable enums and drop discriminators of lists, everywhere below `node`."""
    if isinstance(node, dict):
        told_by = node.get("discriminator")
        if isinstance(told_by, dict) and "array" in told_by.get("mapping", {}):
            del node["discriminator"]
        if node.get("nullable") is True and isinstance(node.get("enum"), list) and None not in node["enum"]:
            node["enum"].append(None)
        for value in node.values():
            mend(value)
    elif isinstance(node, list):
        for value in node:
            mend(value)


def main(version: str = "23.0.2") -> None:
    with tempfile.TemporaryDirectory() as folder:
        package = f"@octokit/openapi@{version}"
        done = subprocess.run(
            ["npm", "pack", package, "--silent"], cwd=folder, check=True, capture_output=True, text=True
        )
        with tarfile.open(Path(folder, done.stdout.strip().splitlines()[-1])) as archive:
            description = json.load(archive.extractfile("package/generated/api.github.com.json"))  # type: ignore[arg-type]
            licence = archive.extractfile("package/LICENSE").read()  # type: ignore[union-attr]
    mend(description)
    for path in description["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict):
                operation.pop("servers", None)
    text = json.dumps(description, separators=(",", ":"), sort_keys=True).encode()
    (DATA / "api.github.com.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))
    (DATA / "api.github.com.LICENSE.txt").write_bytes(licence)
    print(f"{package}: {len(description['paths'])} paths, {len(text):,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
