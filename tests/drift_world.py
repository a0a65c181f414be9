"""Tables to compare, and a repository of the sandbox with a released version whose drift is checked over HTTP."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conftest import ENV, bot_forge, user
from trackside.config.model import DriftPolicy
from trackside.documents.codec import dump, load
from trackside.documents.profile import Profile
from trackside.documents.release import Asset, Release
from trackside.documents.result import Result
from trackside.documents.verdict import Verdict
from trackside.drift.check import Asked, check
from trackside.drift.job import DriftJob, drift
from trackside.drift.profile import build
from trackside.forge.github import GithubForge
from trackside.forge.operations import (
    CommitFiles,
    CreateTag,
    DraftRelease,
    FillRelease,
    PublishRelease,
    ReleaseAsset,
)
from trackside.plan.stage import Ports
from trackside.registry import tags
from trackside.sandbox.server import Sandbox
from trackside.store.branch import ApiRunStore
from trackside.system.process import Processes
from trackside.tables.sources import Data, Places

PROCESSES = Processes(ENV)
HELD = {"contents": "write", "issues": "write", "checks": "write"}
NOW = datetime(2026, 3, 20, 4, 43, tzinfo=UTC)
POLICY = """\
version: 1
models:
  delay:
    path: model.bin
    drift:
      reference: eval/predictions.parquet
      current: "production/{date}.parquet"
      prediction: score
      label: label
      retrain: {after: 2}
"""
WATCH = DriftPolicy(reference="reference.parquet", current="current.parquet", prediction="score", label="label")


def rows(
    rng: np.random.Generator, count: int, *, shift: float = 0.0, rate: float = 0.1, worse: float = 0.0
) -> dict[str, Any]:
    """Seven columns: a normal one, whole numbers, two categories, a truth, a score and its label."""
    normal = rng.normal(shift, 1, count)
    score = 1 / (1 + np.exp(1.5 - normal))
    chance = score + worse * (0.3 - score)
    return {
        "temperature": normal,
        "hour": rng.integers(0, 24, count),
        "rain": np.where(rng.random(count) < rate, "yes", "no"),
        "carrier": rng.choice([f"c{i}" for i in range(12)], count),
        "weekend": rng.random(count) < 0.3,
        "score": score,
        "label": (rng.random(count) < chance).astype(np.int64),
    }


def parquet(path: Path, columns: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
    return path


def table_bytes(columns: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), stream)
    return stream.getvalue()


def reference(folder: Path, rng: np.random.Generator, count: int = 10_000, policy: DriftPolicy = WATCH) -> Profile:
    return build(parquet(folder / "reference.parquet", rows(rng, count)), policy, "delay")


def verdict_of(profile: Profile, path: Path, policy: DriftPolicy = WATCH) -> Verdict:
    asked = Asked(model="delay", as_of="2026-03-01", checked_at="2026-03-01T04:43:00Z", version="1.0.0")
    return check(profile, Data(source=path.name, files=(path,), digest="sha256:" + "0" * 64), policy, asked)


class Clock:
    """Stands still where it is put."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        del seconds


@dataclass
class Watched:
    """A repository with `delay@v1.0.0`, and a checkout whose `production/` holds the current data."""

    sandbox: Sandbox
    repo: str
    folder: Path
    policy: str = POLICY
    clock: Clock = field(default_factory=Clock)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(11))
    said: list[str] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)
    calls: int = 0

    @property
    def checkout(self) -> Path:
        return self.folder / "work"

    def start(self, policy: str = "") -> None:
        self.policy = policy or self.policy
        self.commit = self.push({"trackside.yaml": self.policy.encode()})
        self.checkout.mkdir(exist_ok=True)
        self.profile = reference(self.folder, self.rng)

    def push(self, files: Mapping[str, bytes | None], branch: str = "main") -> str:
        return self.sandbox.hub.commit_folder(self.repo, branch, dict(files), "Change", user("ada"))

    def release(self, version: str = "1.0.0", model: str = "delay", *, profile: bool = True) -> Release:
        """Publish a version with its profile, as the register stage leaves it."""
        path = self.folder / "drift-profile.json"
        path.write_bytes(dump(msgspec.structs.replace(self.profile, model=model)))
        digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
        size = path.stat().st_size
        tag = tags.version_tag(model, version)
        with self.forge() as forge:
            made = forge.apply(
                [
                    CreateTag(name=tag, commit=self.commit, message=tags.message(tag, {"Run-Id": "r1"})),
                    DraftRelease(tag=tag, commit=self.commit, title=tag, body="notes"),
                ]
            )
            number = int(made[1].id)
            asset = ReleaseAsset(name=path.name, path=path, digest=digest, size=size)
            record = Release(
                model=model,
                version=version,
                tag=tag,
                commit=self.commit,
                run="r1",
                state="published",
                release_id=number,
                assets=[Asset(name=path.name, role="profile", digest=digest, size=size)] if profile else [],
            )
            done = forge.apply(
                [
                    FillRelease(release_id=number, assets=(asset,)),
                    PublishRelease(release_id=number, body="notes"),
                    CommitFiles(
                        branch="trackside-data",
                        message="Release",
                        files={f"releases/{model}/{version}.json": dump(record).decode()},
                    ),
                ]
            )
            assert [one.outcome for one in (*made, *done) if one.outcome == "failed"] == [], (made, done)
        return record

    def promote(self, version: str, stage: str, counter: int) -> None:
        name = tags.stage_tag("delay", stage, counter)
        message = tags.message(f"Put {version} into {stage}", {"Version": version, "Actor": "ada"})
        with self.forge() as forge:
            (made,) = forge.apply([CreateTag(name=name, commit=self.commit, message=message)])
        assert made.outcome == "created", made

    def produce(self, day: str, *, count: int = 2000, **how: float) -> None:
        """A day's production data."""
        parquet(self.checkout / f"production/{day}.parquet", rows(self.rng, count, **how))

    def forge(self) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, HELD, clock=self.clock, viewer="github-actions[bot]", timeout=5)

    def check(self, day: str = "", forge: GithubForge | None = None, **more: Any) -> Result:
        """One run of the stage, in a folder of its own."""
        if day:
            self.clock.at = datetime.fromisoformat(f"{day}T04:43:00+00:00")
        forge = forge or self.forge()
        page = f"{self.sandbox.url}/{self.repo}"
        with forge, tempfile.TemporaryDirectory(dir=self.folder) as work:
            ports = Ports(
                forge=forge,
                store=ApiRunStore(forge, "trackside-data"),
                processes=PROCESSES,
                clock=self.clock,
                git_url=page,
                token=forge._token,
                workdir=Path(work),
                web_url=page,
            )
            places = Places(root=self.checkout, folder=Path(work), processes=PROCESSES)
            job = DriftJob(
                forge=forge,
                ports=ports,
                places=lambda model: replace(places, folder=Path(work) / "data" / model),
                out=self.folder / "out",
                workflow_run=f"{page}/actions/runs/{self.clock.at.day}",
                say=self.said.append,
                note=lambda level, title, text: self.said.append(f"{level}: {title}: {text}"),
                summary=self.summaries.append,
                **more,
            )
            result = drift(job)
        self.calls = result.api_calls
        return result

    # What is there

    def data(self) -> dict[str, bytes]:
        bare = self.sandbox.hub.bare(self.repo)
        listed = bare.git("ls-tree", "-r", "--name-only", "trackside-data", check=False).text.split()
        return {path: bare.file("trackside-data", path) or b"" for path in listed}

    def tip(self) -> str | None:
        return self.sandbox.hub.bare(self.repo).sha("refs/heads/trackside-data")

    def verdict(self, day: str, model: str = "delay") -> Verdict:
        return load(Verdict, self.data()[f"drift/{model}/{day}.json"])

    def issues(self, state: str = "") -> list[dict[str, Any]]:
        found = self.sandbox.state.list("issue", self.repo)
        return [one for one in found if not state or one["state"] == state]

    def snooze(self, days: int) -> None:
        until = (self.clock.at + timedelta(days=days)).isoformat()
        text = f'{{"schema": "trackside.snooze/1", "until": "{until}", "by": "ada"}}\n'
        with self.forge() as forge:
            forge.apply([CommitFiles(branch="trackside-data", message="s", files={"drift/delay/snooze.json": text})])
