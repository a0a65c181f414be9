"""A registry of the sandbox, made tag by tag and release by release, and the command line against a clone of it."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from conftest import user
from trackside import __version__
from trackside.app import Context
from trackside.cli import parser
from trackside.documents.codec import dump
from trackside.documents.image import Image, Smoke
from trackside.documents.release import Release
from trackside.documents.run import Artifact, Environment, Metric, Run, Source, Trigger
from trackside.errors import TracksideError
from trackside.registry.package import Package
from trackside.registry.release import statement_of
from trackside.registry.tags import message
from trackside.sandbox.server import Sandbox
from trackside.store.layout import run_path
from trackside.system.process import Processes
from trackside.train.files import digest

ADA = user("ada")
PROCESSES = Processes({"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"})
DAY = "2026-11-{:02d}T06:00:00+00:00"


@dataclass
class Answered:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.out)


@dataclass
class Registry:
    """`limit` is where model files are split."""

    sandbox: Sandbox
    repo: str
    folder: Path
    limit: int = 2**31
    env: dict[str, str] = field(default_factory=dict)
    days: int = 0
    records: dict[str, Release] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "GITHUB_API_URL": self.sandbox.api_url,
            "GITHUB_TOKEN": "token-ada",
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }

    # What happened

    def tag(self, name: str, commit: str, trailers: Mapping[str, str] | None = None, *, light: bool = False) -> None:
        """A tag at the server, a day after the last one."""
        self.days += 1
        bare = self.sandbox.hub.bare(self.repo)
        if light:
            bare.git("update-ref", f"refs/tags/{name}", commit)
            return
        when = DAY.format(min(self.days, 30))
        text = (
            f"object {commit}\ntype commit\ntag {name}\n"
            f"tagger Bot <bot@example.com> {_epoch(when)} +0000\n\n{message('Event', trailers or {})}"
        )
        made = bare.git("mktag", data=text.encode()).text.strip()
        bare.git("update-ref", f"refs/tags/{name}", made)

    def version(
        self,
        model: str,
        version: str,
        content: bytes | Mapping[str, bytes] = b"weights",
        *,
        path: str = "models/delay.skops",
        auc: float = 0.9,
        loss: float = 0.3,
        state: str = "published",
        **changes: Any,
    ) -> Release:
        """A released version: commit, run, tag, release with its files, record."""
        tag = f"{model}@v{version}"
        commit = self.sandbox.hub.commit_folder(self.repo, "main", {"v": tag.encode()}, tag, ADA)
        folder = self.folder / f"made-{len(self.records)}"
        folder.mkdir(parents=True)
        source = folder / "model"
        if isinstance(content, bytes):
            source.write_bytes(content)
        else:
            for name, data in content.items():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(data)
        trained = digest("model", folder)[0]
        package = Package(folder=folder, limit=self.limit)
        package.add_model(source, path, trained)
        metrics = [
            Metric(name="auc", value=auc, file="metrics.json", direction="max"),
            Metric(name="loss", value=loss, file="metrics.json", direction="min"),
            Metric(name="rows", value=1000.0, file="metrics.json"),
        ]
        made = Artifact(path=path, role="model", digest=trained, size=1)
        run = trained_by(self.repo, model, version, commit, made, metrics)
        stated = statement_of(run, self.sandbox.url)
        said = {"Actor": "ada", "Run-Id": run.id, "Statement-Sha256": hashlib.sha256(stated).hexdigest()}
        self.tag(tag, commit, said)
        self.ran(run)
        package.add("run", "run.json", dump(run))
        package.add("statement", "provenance.intoto.json", stated)
        package.add("card", "README.md", b"# card\n", "text/markdown")
        doc = self.sandbox.hub.add_release(
            self.repo, {"tag_name": tag, "name": tag, "body": "", "draft": True, "target_commitish": commit}, ADA
        )
        for one in package.uploads:
            self.sandbox.hub.add_asset(self.repo, doc["id"], one.name, one.path.read_bytes(), ADA)
        if state == "published":
            self.sandbox.hub.edit_release(self.repo, doc["id"], {"draft": False}, ADA)
        shutil.rmtree(folder)
        release = Release(
            model=model,
            version=version,
            tag=tag,
            commit=commit,
            run=run.id,
            state=state,  # type: ignore[arg-type]
            release_id=doc["id"],
            url=f"{self.sandbox.url}/{self.repo}/releases/tag/{tag}",
            model_digest=trained,
            statement_digest="sha256:" + hashlib.sha256(stated).hexdigest(),
            pull_request=7,
            metrics=metrics,
            assets=package.assets,
        )
        release = msgspec.structs.replace(release, **changes)
        self.record(release)
        return release

    def record(self, release: Release) -> None:
        """Write a release's record as it stands."""
        self.records[release.tag] = release
        self.data({f"releases/{release.model}/{release.version}.json": dump(release)})

    def ran(self, run: Run) -> None:
        """Write a run's record as it stands."""
        self.runs.setdefault(run.id, run)
        self.data({run_path(run.model, run.id): dump(run)})

    def data(self, files: Mapping[str, bytes | None]) -> None:
        self.sandbox.hub.commit_folder(self.repo, "trackside-data", dict(files), "Record", ADA)

    def image(self, release: Release, digest: str = "sha256:" + "1f" * 32, **changes: Any) -> None:
        made = Image(
            model=release.model,
            version=release.version,
            tag=release.tag,
            commit=release.commit,
            run=release.run,
            model_digest=release.model_digest,
            inputs_digest="sha256:" + "2" * 64,
            bento="delay:1",
            service="service.py:Delay",
            reference=f"registry.example.com:5000/acme/delay:{release.version}",
            digest=digest,
            size=616_000_000,
            smoke=Smoke(requests=12, passed=12, bad_requests=2, bad_refused=2),
        )
        made = msgspec.structs.replace(made, **changes)
        self.data({f"images/{release.model}/{release.version}.json": dump(made)})

    def promote(self, stage: str, release: Release, counter: int, **trailers: str) -> None:
        said = {"Version": release.version, "Actor": "ada", **trailers}
        self.tag(f"{release.model}#{stage}#{counter}", release.commit, said)

    # Who asks

    def clone(self, *options: str) -> Path:
        """A clone with all branches and tags."""
        to = self.folder / f"clone-{len(list(self.folder.glob('clone-*')))}"
        url = f"{self.sandbox.url}/{self.repo}"
        PROCESSES.run(["git", "clone", "-q", *options, url, to])
        return to

    def ask(self, *argv: str | Path, clone: Path | None = None, columns: int = 0, **env: str) -> Answered:
        """`trackside models …`, on a clone or, without one, with `--repository`."""
        words = ["models", *(str(one) for one in argv)]
        words += ["--repo", str(clone)] if clone is not None else ["--repository", self.repo]
        return run(words, {**self.env, **({"COLUMNS": str(columns)} if columns else {}), **env})


def trained_by(repo: str, model: str, version: str, commit: str, made: Artifact, metrics: Sequence[Metric]) -> Run:
    """The run of a version."""
    return Run(
        id="r" + version.replace(".", ""),
        model=model,
        status="succeeded",
        reason_code="trained",
        input_digest="sha256:" + "0" * 64,
        source=Source(repository=repo, commit=commit),
        trigger=Trigger(event="push"),
        started_at=DAY.format(1),
        finished_at=DAY.format(1),
        environment=Environment(python="3.12.1", os="linux"),
        artifacts=[made],
        metrics=list(metrics),
        trackside=__version__,
    )


def run(words: Sequence[str], env: Mapping[str, str]) -> Answered:
    """One command of the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    arguments = parser().parse_args(words)
    context = Context(env=dict(env), out=out, json=bool(getattr(arguments, "json", False)))
    try:
        with redirect_stderr(err):
            code = arguments.handler(context, arguments)
    except TracksideError as error:
        return Answered(error.exit_code, out.getvalue(), err.getvalue() + error.render())
    sys.stderr.flush()
    return Answered(code, out.getvalue(), err.getvalue())


def _epoch(when: str) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(when).timestamp())
