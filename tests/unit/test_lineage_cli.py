"""`trackside lineage` on real clones: tags and records by git, listings of DVC's cache, deploy files of branches."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from lineage_samples import data, image, md5, release, run, sha256, staged

from trackside.app import Context
from trackside.cli import main
from trackside.documents.codec import dump, schema
from trackside.documents.image import Image
from trackside.documents.lineage import Lineage
from trackside.documents.release import Release
from trackside.documents.run import Dependency, Run
from trackside.errors import ConfigError, DataError, NotFound
from trackside.lineage.ask import Question, ask

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POLICY = """\
version: 1
models:
  delay:
    path: model.bin
    stages: [train]
    image:
      service: service.py:Delay
      requirements: requirements.txt
      golden: golden.jsonl
      deploy: {file: deploy/kustomization.yaml}
"""


@dataclass
class Clone:
    """A clone without an origin; records lie on its own data branch."""

    folder: Path

    def __post_init__(self) -> None:
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit({"trackside.yaml": POLICY})

    def git(self, *words: str, text: str = "") -> str:
        author = {f"GIT_{who}_{what}": "ada@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = {"PATH": PATH, "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1", **author}
        argv = ["git", "-C", str(self.folder), *words]
        return subprocess.run(argv, env=env, input=text, capture_output=True, text=True, check=True).stdout.strip()

    def commit(self, files: Mapping[str, str]) -> str:
        for name, content in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(content)
        self.git("add", "--", *files)
        self.git("commit", "--quiet", "--allow-empty", "-m", "Change")
        return self.git("rev-parse", "HEAD")

    def record(self, *documents: Run | Release | Image, raw: Mapping[str, str] | None = None) -> None:
        """One commit on the data branch."""
        files = dict(raw or {})
        for one in documents:
            place = {Run: "runs", Release: "releases", Image: "images"}[type(one)]
            name = one.id if isinstance(one, Run) else one.version
            files[f"{place}/{one.model}/{name}.json"] = dump(one).decode()
        head = (
            self.git("rev-parse", "--verify", "--quiet", "refs/heads/trackside-data", "--") if self.has_data() else ""
        )
        lines = ["commit refs/heads/trackside-data\ncommitter a <a@x> 1760000000 +0000\ndata 1\nr\n"]
        lines += [f"from {head}\n"] if head else []
        lines += [f"M 100644 inline {path}\ndata {len(text.encode())}\n{text}\n" for path, text in files.items()]
        self.git("fast-import", "--quiet", text="".join(lines))

    def has_data(self) -> bool:
        return "refs/heads/trackside-data" in self.git("for-each-ref", "--format=%(refname)")

    def tag(self, name: str, at: str = "HEAD", **trailers: str) -> None:
        body = "\n".join(f"{key.replace('_', '-')}: {value}" for key, value in trailers.items())
        self.git("tag", "-a", name, "-m", f"{name}\n\n{body}", at)

    def ask(self, form: Any = "text", **question: str) -> str:
        out = io.StringIO()
        context = Context(env={"PATH": PATH, "HOME": str(self.folder)}, out=out)
        try:
            assert ask(context, Question(**question), form=form, repo=self.folder) == 0
        except DataError as error:
            error.said = out.getvalue()  # type: ignore[attr-defined]
            raise
        return out.getvalue()

    def json(self, **question: str) -> Lineage:
        text = self.ask("json", **question)
        jsonschema.validate(json.loads(text), schema(Lineage))
        return msgspec.json.decode(text, type=Lineage)

    def listing(self, files: Mapping[str, str], place: str = ".dvc/cache/files/md5") -> str:
        """A folder's listing as DVC keeps it; returns the folder's digest."""
        rows = [{"md5": md5(text)[4:], "relpath": name} for name, text in sorted(files.items())]
        content = json.dumps(rows).encode()
        digest = hashlib.md5(content).hexdigest()
        path = self.folder / place / digest[:2] / f"{digest[2:]}.dir"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"md5:{digest}.dir"


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    folder = tmp_path / "clone"
    folder.mkdir()
    return Clone(folder)


@pytest.fixture
def project(clone: Clone) -> Clone:
    """Two versions of `delay`; the first was in `prod`, the second is, and is what the deploy file names."""
    raw, test = data("data/raw.csv", "raw"), data("data/test.csv", "test")
    one, two = image("1.0.0", "aa11"), image("1.1.0", "bb22")
    clone.record(
        staged("aa11", raw, test),
        staged("bb22", data("data/raw.csv", "raw 2"), test),
        run("cc33", raw, experiment=True),
        release("1.0.0", "aa11", model_digest=sha256("weights of aa11")),
        release("1.1.0", "bb22"),
        one,
        two,
    )
    for version, name in (("1.0.0", "aa11"), ("1.1.0", "bb22")):
        clone.tag(f"delay@v{version}", Run_Id=name)
    clone.tag("delay#prod#1", Version="1.0.0", Actor="ada")
    clone.tag("delay#prod#2", Version="1.1.0", Actor="bob")
    clone.commit({"deploy/kustomization.yaml": f"images:\n- name: delay\n  digest: {two.digest}\n"})
    return clone


def test_a_deletion_request_is_answered_on_one_screen(project: Clone) -> None:
    said = project.ask(data=md5("raw 2"))
    assert "1 version learnt from it; 1 holds a stage now (delay@v1.1.0: prod); 1 has an image; 1 is deployed" in said
    assert f"ghcr.io/acme/delay:1.1.0@{image('1.1.0', 'x').digest}" in said
    assert len(said.splitlines()) <= 24
    found = project.json(data=md5("raw"))
    assert (found.counts.learnt, found.counts.in_stage, found.counts.deployed) == (1, 0, 0)
    (version,) = found.versions
    assert (version.version, version.stages, version.held) == ("delay@v1.0.0", [], ["delay#prod"])
    assert found.runs_only == ["run:delay/cc33"]
    assert found.complete
    judged = project.json(data=md5("test"))
    assert [(one.version, one.use) for one in judged.versions] == [
        ("delay@v1.1.0", "judged"),
        ("delay@v1.0.0", "judged"),
    ]


def test_names_of_versions_commits_and_runs(project: Clone) -> None:
    assert project.ask(spec="delay#prod").startswith("delay#prod is delay@v1.1.0\n")
    assert "data data/raw.csv" in project.ask(spec="delay@v1.0.0")
    assert "judged on" in project.ask(spec="delay@latest")
    code = project.git("rev-parse", "delay@v1.1.0^{commit}")
    assert {one.version for one in project.json(commit=code[:9]).versions} == {"delay@v1.0.0", "delay@v1.1.0"}
    assert [one.version for one in project.json(run="bb2").versions] == ["delay@v1.1.0"]
    for question in ({"spec": "delay@v9.0.0"}, {"spec": "delay#canary"}, {"spec": "other@latest"}, {"run": "zz"}):
        with pytest.raises(NotFound):
            project.ask(**question)
    for question in ({"spec": "delay"}, {"data": "md5:12"}, {"commit": "HEAD"}):
        with pytest.raises(ConfigError):
            project.ask(**question)


def test_depth_shows_less_and_counts_the_same(project: Clone) -> None:
    whole = project.json(data=md5("raw"))
    out = io.StringIO()
    context = Context(env={"PATH": PATH, "HOME": str(project.folder)}, out=out)
    ask(context, Question(data=md5("raw")), form="json", repo=project.folder, depth=1)
    near = msgspec.json.decode(out.getvalue(), type=Lineage)
    assert (near.counts, near.versions) == (whole.counts, whole.versions)
    assert {node.kind for node in near.nodes} == {"data", "run"}
    assert {node.kind for node in whole.nodes} == {"data", "run", "version", "stage", "image"}


def test_data_by_path_and_by_the_content_of_a_file(project: Clone, tmp_path: Path) -> None:
    by_path = project.json(data="data/raw.csv")
    assert [one.version for one in by_path.versions] == ["delay@v1.1.0", "delay@v1.0.0"]
    assert project.json(data="data/raw.csv.dvc").versions == by_path.versions
    assert project.json(data="data").counts.learnt == 2
    (tmp_path / "sent.csv").write_text("raw 2")
    assert [one.version for one in project.json(data=str(tmp_path / "sent.csv")).versions] == ["delay@v1.1.0"]
    (tmp_path / "sent.csv").write_text("never seen")
    assert not project.json(data=str(tmp_path / "sent.csv")).known
    never = project.ask(data=md5("never seen"))
    assert "nothing that is recorded has this digest or path" in never
    assert "0 versions learnt from it" in never


def test_a_file_in_a_folder_is_found_by_the_listings_of_dvc(clone: Clone) -> None:
    near = clone.listing({"ada.png": "ada", "bob.png": "bob"})
    remote = clone.folder.parent / "remote"
    remote.mkdir()
    (clone.folder / ".dvc/config").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {remote}\n")
    far = clone.listing({"bob.png": "bob"}, place="../remote/files/md5")
    clone.record(
        run("aa11", data("photos", "", digest=near)),
        run("bb22", data("photos", "", digest=far)),
        release("1.0.0", "aa11"),
        release("1.1.0", "bb22"),
    )
    assert [one.version for one in clone.json(data=md5("ada")).versions] == ["delay@v1.0.0"]
    assert [one.version for one in clone.json(data="photos/ada.png").versions] == ["delay@v1.0.0"]
    assert [one.version for one in clone.json(data=md5("bob")).versions] == ["delay@v1.1.0", "delay@v1.0.0"]
    assert clone.json(data=md5("nobody")).counts.learnt == 0
    for place in (*clone.folder.glob(".dvc/cache/**/*.dir"), *remote.glob("**/*.dir")):
        damaged = place.read_bytes().replace(b"bob.png", b"eve.png")
        place.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            clone.ask(data=md5("bob"))
        assert caught.value.reason_code == "lineage_incomplete"
        assert caught.value.exit_code == 7
        place.unlink()
    with pytest.raises(DataError) as caught:
        clone.ask(data=md5("ada"))
    assert "0 versions learnt from it; of 2 versions it cannot be told" in caught.value.said  # type: ignore[attr-defined]
    assert "NOT CERTAIN" in caught.value.said  # type: ignore[attr-defined]
    assert clone.json(data=near).counts.learnt == 1  # the folder itself needs no listing


def test_the_deploy_pull_request_and_files_elsewhere(project: Clone) -> None:
    digest = image("1.0.0", "x").digest
    project.git("checkout", "--quiet", "-b", "trackside/deploy/delay")
    project.commit({"deploy/kustomization.yaml": f"images:\n- name: delay\n  digest: {digest}\n"})
    project.git("checkout", "--quiet", "main")
    (version,) = project.json(run="aa11").versions
    assert (version.deployed, version.proposed) == ([], ["trackside/deploy/delay:deploy/kustomization.yaml"])
    assert "(proposed)" in project.ask(run="aa11")
    elsewhere = POLICY.replace("deploy: {file", "deploy: {repository: acme/infra, file")
    project.commit({"trackside.yaml": elsewhere})
    found = project.json(run="bb22")
    assert found.notes == ["delay is deployed from acme/infra:deploy/kustomization.yaml, which is not read here"]
    assert found.versions[0].deployed == []


def test_what_cannot_be_read_ends_with_an_exit_code_and_an_answer(project: Clone) -> None:
    project.record(raw={"runs/delay/dd44.json": "{", "releases/delay/2.0.0.json": '{"schema": "x"}'})
    with pytest.raises(DataError) as caught:
        project.ask(data=md5("raw 2"))
    assert "1 version learnt from it" in caught.value.said  # type: ignore[attr-defined]
    for path in ("runs/delay/dd44.json", "releases/delay/2.0.0.json"):
        assert path in caught.value.said  # type: ignore[attr-defined]


def test_a_clone_without_records_or_with_half_of_the_tags_is_no_answer(clone: Clone, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        clone.ask(data=md5("raw"))
    assert caught.value.reason_code == "registry_incomplete"
    assert "git fetch origin trackside-data" in caught.value.remedy
    clone.record(run("aa11"))
    clone.commit({"a": "b"})
    clone.git("clone", "--quiet", "--depth=1", f"file://{clone.folder}", str(tmp_path / "shallow"))
    shallow = Context(env={"PATH": PATH, "HOME": str(tmp_path)}, out=io.StringIO())
    with pytest.raises(DataError) as caught:
        ask(shallow, Question(data=md5("raw")), form="text", repo=tmp_path / "shallow")
    assert caught.value.reason_code == "registry_incomplete"


def test_a_version_that_went_out_of_use_holds_nothing(project: Clone) -> None:
    project.tag("delay@v1.1.0!#3")
    (version,) = project.json(run="bb22").versions
    assert version.stages == []
    assert version.held == ["delay#prod"]
    assert "out of use" in project.ask(run="bb22")


def test_runs_that_only_this_machine_knows_count_too(project: Clone) -> None:
    local = run("ee55", data("data/raw.csv", "raw 2"))
    folder = project.folder / ".trackside/runs/delay"
    folder.mkdir(parents=True)
    (folder / "ee55.json").write_bytes(dump(local))
    assert project.json(data=md5("raw 2").upper().replace("MD5", "md5")).runs_only == ["run:delay/ee55"]
    (folder / "ff66.json").write_text("{")
    with pytest.raises(DataError, match="may not be whole"):
        project.ask(data=md5("raw 2"))


def test_a_folder_of_the_clone_asks_the_whole_clone(project: Clone) -> None:
    (project.folder / "data").mkdir()
    (project.folder / "data/raw.csv").write_text("anything")
    out = io.StringIO()
    context = Context(env={"PATH": PATH, "HOME": str(project.folder)}, out=out)
    path = str(project.folder / "data/raw.csv")
    assert ask(context, Question(data=path), form="json", repo=project.folder / "data") == 0
    assert msgspec.json.decode(out.getvalue(), type=Lineage).counts.learnt == 2


def test_without_a_token_the_server_is_not_asked(tmp_path: Path) -> None:
    context = Context(env={"PATH": PATH}, out=io.StringIO())
    with pytest.raises(ConfigError) as caught:
        ask(context, Question(run="aa11"), form="text", repo=tmp_path, repository="acme/flights")
    assert caught.value.reason_code == "token_missing"


HOSTILE = [
    "\x1b]0;evil\x07",
    "\x1b[2J",
    "\u202egnp",
    "::error::x",
    "##[error]x",
    "a\nb",
    "a\rb",
    "<script>",
    '"]; click n1',
    "%%{init:{}}%%",
    "日本 \U0001f680",
    "a" * 3000,
]


def test_hostile_names_reach_neither_terminal_nor_runner(clone: Clone) -> None:
    reads = [Dependency(path=name, kind="data", digest=md5(str(n))) for n, name in enumerate(HOSTILE)]
    reads.append(Dependency(path="x", kind="data", digest="md5:\x1b[31m"))
    clone.record(run("aa11", *reads), release("1.0.0", "aa11"))
    outputs = 0
    for spec in ({"run": "aa11"}, *({"data": md5(str(n))} for n in range(len(HOSTILE)))):
        for form in ("text", "mermaid"):
            said = clone.ask(form, **spec)
            assert all(char.isprintable() or char == "\n" for char in said)
            assert "\n::" not in said
            assert max(map(len, said.splitlines())) < 1000
            outputs += 1
        jsonschema.validate(json.loads(clone.ask("json", **spec)), schema(Lineage))
    print(f"{outputs} outputs of {len(HOSTILE)} hostile names")
    assert outputs == 26


def test_the_command_line(project: Clone, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    assert main(["lineage", "delay#prod", "--format", "mermaid"]) == 0
    assert capsys.readouterr().out.startswith("flowchart LR\n")
    assert main(["lineage", "--data", "data/raw.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == "trackside.lineage/1"
    assert main(["lineage", "--run", "nothing"]) == 4
    assert "no recorded run" in capsys.readouterr().err
    assert main(["schema", "lineage"]) == 0
    assert json.loads(capsys.readouterr().out) == schema(Lineage)
    for wrong in (["lineage"], ["lineage", "a@v1.0.0", "--run", "x"], ["lineage", "--run", "x", "--depth", "0"]):
        with pytest.raises(SystemExit) as stopped:
            main(wrong)
        assert stopped.value.code == 2
