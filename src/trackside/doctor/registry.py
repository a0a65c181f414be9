"""The registry in one line: how many problems `trackside models doctor` would tell of."""

from __future__ import annotations

import tempfile
from pathlib import Path

from trackside.doctor.place import Place
from trackside.doctor.table import Findings, found, unseen
from trackside.errors import TracksideError
from trackside.models.doctor import findings
from trackside.models.reading import Patient, Server, read
from trackside.registry.remote import Remote
from trackside.store.layout import DATA_BRANCH


def check(place: Place) -> Findings:
    """One finding; none where there is neither a clone nor GitHub to ask."""
    cloned = place.here and (place.root / ".git").exists()
    if place.facts is None and not cloned:
        return
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        try:
            told = findings(read(_patient(place, Path(folder), cloned=cloned)))
        except TracksideError as error:
            yield unseen("registry.sound", error.message)
            return
    problems = [one for one in told if one.level == "problem"]
    if problems:
        first = f"{len(problems)} problems of the registry, such as: {problems[0].what}"
        yield found("registry.sound", "error", first)
    else:
        yield found("registry.sound", "ok")


def _patient(place: Place, folder: Path, *, cloned: bool) -> Patient:
    branch = place.config.data_branch if place.config else DATA_BRANCH
    server = None
    if place.forge is not None and place.facts is not None:
        url, token = place.facts.git_url, place.token
        server = Server(
            forge=place.forge,
            remote=Remote(folder / "job.git", url, token=token, processes=place.processes, clock=place.clock),
            url=url,
            token=token,
            folder=folder,
            writes=place.facts.push,
        )
    repo = place.root if cloned else None
    return Patient(
        processes=place.processes, clock=place.clock, repo=repo, server=server, branch=branch, offline=place.offline
    )
