"""A register in a repository with 1,000 tags and 1,000 releases: its API calls, and what git asks beside them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import ROOT, Figure, machine_env

sys.path.insert(0, str(ROOT / "tests/unit"))  # the sample repository of the tests

from registry_world import ADA, Trained, crowded

from trackside.sandbox.server import Sandbox

CALLS = 12
TAGS = 1000
REPO = "acme/flights"


def measure(*, quick: bool) -> list[Figure]:
    """Version after version of one model, each with its own run.

    Raises:
        RuntimeError: a release did not come, or an exchange was off GitHub's description.
    """
    counts: list[int] = []
    files: list[int] = []
    requests: list[int] = []
    with tempfile.TemporaryDirectory() as name, Sandbox(Path(name) / "state", machine_env()) as sandbox:
        sandbox.hub.add_user("github-actions[bot]", "Bot")
        sandbox.hub.add_repo(REPO)
        sandbox.hub.commit_folder(REPO, "main", {"README.md": b"# flights\n"}, "first", ADA)
        place = Trained(sandbox, REPO, Path(name))
        for turn in range(1 if quick else 5):
            commit = place.change(0.2 + turn) if turn else place.start()
            if not turn:
                crowded(place, commit, TAGS)
            place.trained(commit, f"weights {turn}".encode())
            sandbox.git_calls.clear()
            result = place.register(place.pushed(commit))
            if result.reason_code != "released" or sandbox.violations:
                raise RuntimeError(f"{result.reason_code}: {sandbox.violations}\n{place.said.getvalue()}")
            counts.append(result.api_calls)
            requests.append(len(sandbox.git_calls))
            files.append(len(next(one for one in place.records() if one.version == f"1.0.{turn}").assets))
    among = f"register among {TAGS:,} tags and {TAGS:,} releases"
    return [
        Figure(
            name=f"{among}, API calls",
            value=max(counts),
            unit="",
            bound=CALLS,
            spread=f"the most of n = {len(counts)}; {max(files)} files uploaded among them",
        ),
        Figure(name="the same, HTTP requests of git", value=max(requests), unit="", spread="fetches and three pushes"),
    ]
