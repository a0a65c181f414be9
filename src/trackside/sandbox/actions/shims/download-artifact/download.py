"""Copies artifacts from the sandbox's run folder into the workspace."""

import fnmatch
import os
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path


def fail(text: str) -> None:
    print(f"::error::{text}")
    sys.exit(1)


def run_folder(env: "os._Environ[str]") -> Path:
    """Artifacts of the run asked for; the API decides whether the token may read another one."""
    own = Path(env["SANDBOX_ARTIFACTS"])
    if env["RUN"] == env["GITHUB_RUN_ID"] and not env["TOKEN"]:
        return own
    if not env["RUN"].isascii() or not env["RUN"].isdigit():
        fail(f"run-id is no number: {env['RUN']!r}")
    url = f"{env['GITHUB_API_URL']}/repos/{env['REPOSITORY']}/actions/runs/{env['RUN']}"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {env['TOKEN']}"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310
            return own.parents[1] / env["RUN"] / "artifacts"
    except urllib.error.HTTPError as error:
        fail(f"run {env['RUN']} of {env['REPOSITORY']}: {error.code} {error.reason}")
        raise


def copy(source: Path, target: Path) -> int:
    """Regular files only."""
    count = 0
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            count += 1
    return count


def main(env: "os._Environ[str]") -> None:
    folder, target = run_folder(env), Path(env["GITHUB_WORKSPACE"]) / env["TARGET"]
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if env["NAME"]:
        if env["NAME"] not in names:
            fail(f"Artifact not found for name: {env['NAME']}")
        chosen = [env["NAME"]]
    else:
        chosen = [name for name in names if fnmatch.fnmatchcase(name, env["PATTERN"])]
    apart = not env["NAME"] and env["MERGE"] != "true"
    target.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        count = copy(folder / name, target / name if apart else target)
        print(f"Artifact {name}: {count} files")
    with Path(env["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"download-path={target}\n")


main(os.environ)
