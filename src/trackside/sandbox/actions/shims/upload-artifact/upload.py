"""Copies the files that patterns name into the run's artifact folder; the artifact appears whole or not at all."""

import glob
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

FORBIDDEN = re.compile(r'["<>|*?\r\n:\\/]')


def fail(text: str) -> None:
    print(f"::error::{text}")
    sys.exit(1)


def is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def named(pattern: str, workspace: Path) -> tuple[Path, set[Path]]:
    """The folder that a pattern's files are counted from, and the files."""
    full = os.path.normpath(workspace / Path(pattern).expanduser())
    root = Path(re.split(r"[*?\[]", full)[0])
    if not glob.has_magic(full) or not root.is_dir():
        root = root.parent if not Path(full).is_dir() else Path(full)
    files: set[Path] = set()
    for found in glob.glob(full, recursive=True, include_hidden=True):  # noqa: PTH207 - Path.glob leaves no choice
        path = Path(found)
        files |= {one for one in path.rglob("*") if one.is_file()} if path.is_dir() else {path}
    return root, {path for path in files if path.is_file()}


def chosen(lines: list[str], workspace: Path, hidden: bool) -> tuple[Path, set[Path]]:
    """The least folder that holds all roots, and the files."""
    roots: list[Path] = []
    files: set[Path] = set()
    for line in lines:
        if line.startswith("!"):
            files -= named(line[1:].strip(), workspace)[1]
            continue
        root, found = named(line, workspace)
        roots.append(root)
        files |= found if hidden else {path for path in found if not is_hidden(path, root)}
    return Path(os.path.commonpath(roots)) if roots else workspace, files


def main(env: "os._Environ[str]") -> None:
    name, attempt = env["NAME"], env.get("GITHUB_RUN_ATTEMPT", "1")
    if not name or name in (".", "..") or FORBIDDEN.search(name):
        fail(f"The artifact name is not valid: {name!r}")
    artifacts = Path(env["SANDBOX_ARTIFACTS"])
    target, marks = artifacts / name, artifacts.parent / "uploads" / attempt
    if (marks / name).exists() and env["OVERWRITE"] != "true":
        fail(f"an artifact with this name already exists on the workflow run: {name}")
    lines = [line.strip() for line in env["PATHS"].splitlines() if line.strip()]
    root, files = chosen(lines, Path(env["GITHUB_WORKSPACE"]), env["HIDDEN"] == "true")
    if not files:
        text = f"No files were found with the provided path: {' '.join(lines)}. No artifacts will be uploaded."
        if env["MISSING"] == "error":
            fail(text)
        if env["MISSING"] != "ignore":
            print(f"::warning::{text}")
        return
    artifacts.mkdir(parents=True, exist_ok=True)
    marks.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=marks.parent))
    try:
        for path in sorted(files):
            copy = aside / "new" / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            # Links are followed here, on the machine that has them: none arrives where the artifact is read.
            shutil.copyfile(path, copy)
        if target.exists():
            target.rename(aside / "old")
        (aside / "new").rename(target)
        (marks / name).touch()
    finally:
        shutil.rmtree(aside)
    print(f"Artifact {name} has {len(files)} files")
    with Path(env["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"artifact-name={name}\n")


main(os.environ)
