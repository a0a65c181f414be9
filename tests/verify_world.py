"""A released version with everything that is kept of it, and what somebody may do to any of it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trackside.app import Context
from trackside.documents.image import Image, Smoke
from trackside.documents.release import Release
from trackside.image import publish
from trackside.image.build import Built
from trackside.models.source import source_of
from trackside.models.which import parse_spec
from trackside.sandbox.server import Sandbox
from trackside.sandbox.signing import ROOT, Authority, Identity
from trackside.trust.attest import write
from trackside.trust.verify import Wish, verify

DATA = "refs/remotes/origin/trackside-data"
WHEN = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
GIT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(folder: Path, *words: str | Path, data: bytes = b"", **env: str) -> str:
    """What git says in a folder."""
    done = subprocess.run(["git", "-C", folder, *words], env=GIT | env, input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


@dataclass
class Held:
    """A clone and the downloaded files of one version, to do things to."""

    clone: Path
    files: Path
    tag: str
    env: Mapping[str, str] = field(default_factory=dict)

    def copy(self, to: Path) -> Held:
        shutil.copytree(self.clone, to / "clone")
        shutil.copytree(self.files, to / "files")
        return Held(clone=to / "clone", files=to / "files", tag=self.tag, env=self.env)

    @property
    def version(self) -> str:
        return self.tag.partition("@v")[2]

    # What is said of it

    def verify(self, spec: str = "", **wish: Any) -> tuple[int, dict[str, Any]]:
        """Exit code and document of `models verify --offline --dir`."""
        out = io.StringIO()
        context = Context(env={**GIT, **self.env}, out=out, json=True)
        asked = {"repo": self.clone, "folder": self.files, "offline": True} | wish
        code = verify(context, source_of(context, self.clone), Wish(spec=parse_spec(spec or self.tag), **asked))
        return code, json.loads(out.getvalue())

    def failed(self, **wish: Any) -> set[str]:
        """Names of the checks that failed; a failure is never a success."""
        code, said = self.verify(**wish)
        names = {one["name"] for one in said["checks"] if one["state"] == "failed"}
        assert (code == 0) == said["verified"]
        assert not (names and said["verified"])
        for one in said["checks"]:
            if one["state"] == "failed":
                assert one["expected"], one
                assert one["found"], one
        return names

    def states(self, **wish: Any) -> dict[str, str]:
        return {one["name"]: one["state"] for one in self.verify(**wish)[1]["checks"]}

    # What may be done to it

    def change_file(self, name: str, change: Callable[[bytes], bytes]) -> None:
        path = self.files / name
        path.write_bytes(change(path.read_bytes()))

    def change_json(self, name: str, change: Callable[[Any], Any]) -> None:
        """A document of the release, written as it was written."""

        def again(data: bytes) -> bytes:
            document = json.loads(data)
            change(document)
            return written(document)

        self.change_file(name, again)

    def read_data(self, path: str) -> Any:
        return json.loads(git(self.clone, "show", f"{DATA}:{path}"))

    def write_data(self, path: str, document: Any) -> None:
        """A file of the data branch as the clone has it; None takes it away."""
        index = {"GIT_INDEX_FILE": str(self.clone / "index-of-data")}
        git(self.clone, "read-tree", DATA, **index)
        if document is None:
            git(self.clone, "rm", "--cached", "--quiet", path, **index)
        else:
            data = document if isinstance(document, bytes) else written(document)
            sha = git(self.clone, "hash-object", "-w", "--stdin", data=data)
            git(self.clone, "update-index", "--add", "--cacheinfo", f"100644,{sha},{path}", **index)
        tree = git(self.clone, "write-tree", **index)
        commit = git(self.clone, "commit-tree", tree, "-p", DATA, "-m", "changed")
        git(self.clone, "update-ref", DATA, commit)

    @property
    def record_path(self) -> str:
        return f"releases/delay/{self.version}.json"

    def change_record(self, change: Callable[[Any], Any]) -> None:
        record = self.read_data(self.record_path)
        change(record)
        self.write_data(self.record_path, record)

    def message(self) -> str:
        return git(self.clone, "for-each-ref", "--format=%(contents)", f"refs/tags/{self.tag}") + "\n"

    def tag_again(self, at: str = "", message: str = "", name: str = "") -> str:
        """Make the tag anew, annotated; returns the object."""
        at = at or git(self.clone, "rev-parse", f"refs/tags/{self.tag}^{{commit}}")
        text = message or self.message()
        git(self.clone, "tag", "--force", "--annotate", "--file=-", name or self.tag, at, data=text.encode())
        return git(self.clone, "rev-parse", f"refs/tags/{name or self.tag}")


def written(document: Any) -> bytes:
    """JSON as documents are written."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def imaged(place: Any, release: Release, folder: Path) -> None:
    """What the image job leaves of a version."""
    image = Image(
        model=release.model, version=release.version, tag=release.tag, commit=release.commit, run=release.run,
        model_digest=release.model_digest, inputs_digest="sha256:" + "e" * 64, bento="b", service="s.py:S",
        reference="ghcr.io/acme/delay", digest="sha256:" + "1" * 64,
        smoke=Smoke(requests=1, passed=1, bad_requests=1, bad_refused=1),
    )  # fmt: skip
    built = Built(image=image, sbom=b'{"bomFormat": "CycloneDX"}\n', pushed=True)
    with place.forge() as forge:
        operations = publish.operations(built, release, forge, "trackside-data", folder)
        assert publish.failed(forge.apply(one for one in operations if type(one).__name__ != "UpsertComment")) is None


def held(place: Any, sandbox: Sandbox, release: Release, clone: Path, files: Path) -> Held:
    """A clone, and every file of the version as a browser would download it."""
    if not clone.exists():
        git(clone.parent, "clone", "--quiet", f"{sandbox.url}/{place.repo}", clone)
    files.mkdir()
    with place.forge() as forge:
        for one in forge.assets(release.release_id):
            (files / one.name).write_bytes(place.asset(one.name, release.release_id))
    return Held(clone=clone, files=files, tag=release.tag, env={"GITHUB_SERVER_URL": sandbox.url})


def signed(place: Any, sandbox: Sandbox, release: Release, statement: bytes, authority: Authority, work: Path) -> str:
    """The bundle of the job `attest`."""
    folder = write(work, release, statement)
    rows = [line.split("  ", 1) for line in (folder / "subjects.txt").read_text().splitlines()]
    made = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for digest, name in rows],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": json.loads((folder / "predicate.json").read_text()),
    }
    job = Identity(
        server=sandbox.url,
        repository=place.repo,
        path=".github/workflows/release.yml",
        ref="refs/heads/main",
        sha=release.commit,
    )
    return authority.sign(json.dumps(made).encode(), job, WHEN)


__all__ = ["DATA", "ROOT", "Held", "git", "held", "imaged", "sha256", "signed", "written"]
