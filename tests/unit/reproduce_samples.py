"""A project whose runs can be trained again: a remote in a folder, and Pythons with packages of their own."""

from __future__ import annotations

import hashlib
import io
import json
import venv
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from train_samples import OUTSIDE, Lab

from trackside.app import Context
from trackside.config.load import load as load_config
from trackside.documents.codec import dump, load
from trackside.documents.release import Release
from trackside.documents.reproduction import Reproduction, Restoration
from trackside.documents.run import Run
from trackside.registry.release import statement_of
from trackside.reproduce.run import Wish, reproduce

TRAIN = """\
import json, pathlib
lr = float(pathlib.Path("params.yaml").read_text().split()[1])
word, shift = "", 0.0
extra = pathlib.Path("extra.py")
if extra.is_file():
    exec(compile(extra.read_text(), "extra.py", "exec"))
rows = pathlib.Path("data/raw.csv").read_text()
pathlib.Path("model.bin").write_text(f"model {lr} {word} {rows}")
pathlib.Path("metrics.json").write_text(json.dumps({"roc_auc": 0.5 + lr + shift, "n": 3}))
"""

DVC_YAML = """\
stages:
  train:
    cmd: python train.py
    deps: [train.py, data/raw.csv, extra.py]
    params: [lr, seed]
    outs: [model.bin]
    metrics:
      - metrics.json: {cache: false}
"""

POLICY = """\
version: 1
models:
  delay:
    path: model.bin
    metrics:
      roc_auc: {file: metrics.json, direction: max, tolerance: 0.003}
"""

FILES: dict[str, str | bytes] = {
    "dvc.yaml": DVC_YAML,
    "train.py": TRAIN,
    "extra.py": "",
    "params.yaml": "lr: 0.1\nseed: 7\n",
    "trackside.yaml": POLICY,
}


SERVER = "https://github.com"
RAW = b"1,2,3\n"
MD5 = hashlib.md5(RAW).hexdigest()


def origin_of(root: Path) -> Path:
    """A repository with its data in `root/remote`, as `dvc add` and `dvc push` leave it, and no pipeline yet."""
    origin = root / "origin"
    OUTSIDE.run(["git", "init", "-q", "-b", "main", origin])
    files = {
        ".dvc/config": f"[core]\n    remote = store\n['remote \"store\"']\n    url = {root / 'remote'}\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        "data/.gitignore": "/raw.csv\n",
        "data/raw.csv.dvc": f"outs:\n- md5: {MD5}\n  size: {len(RAW)}\n  hash: md5\n  path: raw.csv\n",
    }
    for name, text in files.items():
        (origin / name).parent.mkdir(exist_ok=True)
        (origin / name).write_text(text)
    store(root / "remote")
    OUTSIDE.run(["git", "-C", origin, "add", "-A"])
    OUTSIDE.run(["git", "-C", origin, "commit", "-q", "-m", "start"])
    return origin


def store(folder: Path, data: bytes = RAW) -> Path:
    """Put an object into a DVC remote or cache."""
    md5 = hashlib.md5(data).hexdigest()
    path = folder / "files" / "md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@dataclass
class Bench:
    """A clone in which runs were trained as on a runner; reproductions see `env`."""

    root: Path
    origin: Path
    env: dict[str, str] = field(default_factory=dict)
    said: io.StringIO = field(default_factory=io.StringIO)

    @classmethod
    def make(
        cls, origin: Path, root: Path, changes: Mapping[str, str | bytes] | None = None, *, path: str = "", **job: Any
    ) -> tuple[Bench, Run]:
        """Commit the files with `changes` and train them once, without any remote; `path` goes first on PATH."""
        root.mkdir(exist_ok=True)
        files = {**FILES, **(changes or {})}
        config = load_config(str(files["trackside.yaml"]))
        (model,) = config.models
        fields = {"model": model, "train": config.train, "dvc_config": "", **job}
        lab = Lab.clone(origin, root, changes=files, **fields)
        store(root / "work" / ".dvc" / "cache")
        if path:
            lab.env["PATH"] = f"{path}:{lab.env['PATH']}"
        run = lab.train()
        assert run.status == "succeeded", run.log_tail
        OUTSIDE.run(["git", "-C", root / "work", "checkout", "-q", ".dvc/config"])
        (root / "run.json").write_bytes(dump(run))
        env = {key: lab.env[key] for key in ("PATH", "HOME", "LANG")} | {"XDG_CACHE_HOME": str(root / "cache")}
        return cls(root=root, origin=origin, env=env), run

    @property
    def clone(self) -> Path:
        return self.root / "work"

    def git(self, *words: str | Path) -> str:
        return OUTSIDE.run(["git", "-C", self.clone, *words]).text.strip()

    def reproduce(self, run: Run | str | None = None, **wish: Any) -> tuple[int, Reproduction]:
        """The exit code and the document; the text for people is in `said`."""
        code, text = self._ask(run, True, **wish)
        return code, load(Reproduction, text.encode())

    def dry(self, run: Run | str | None = None, **wish: Any) -> Restoration:
        code, text = self._ask(run, True, dry_run=True, **wish)
        assert code == 0
        return load(Restoration, text.encode())

    def text(self, run: Run | str | None = None, **wish: Any) -> str:
        return self._ask(run, False, **wish)[1]

    def _ask(self, run: Run | str | None, as_json: bool, **wish: Any) -> tuple[int, str]:
        name = run if isinstance(run, str) else str(self.record(run) if run else self.root / "run.json")
        out = io.StringIO()
        context = Context(env=self.env, out=out, json=as_json)
        code = reproduce(context, Wish(**{"name": name, "repo": self.clone, **wish}))
        return code, out.getvalue()

    def record(self, run: Run) -> Path:
        """A run document, as somebody wrote it."""
        path = self.root / "changed.json"
        path.write_bytes(dump(run))
        return path

    def commit_data(self, files: Mapping[str, str]) -> None:
        """One commit on the clone's own data branch, which holds these files afterwards."""
        lines = ["commit refs/heads/trackside-data\ncommitter a <a@x> 1760000000 +0000\ndata 1\nr\n"]
        tip = self.git("for-each-ref", "--format=%(objectname)", "refs/heads/trackside-data")
        lines += [f"from {tip}\n"] if tip else []
        lines += [f"M 100644 inline {path}\ndata {len(text.encode())}\n{text}\n" for path, text in files.items()]
        OUTSIDE.run(["git", "-C", self.clone, "fast-import", "--quiet"], input="".join(lines).encode())

    def release(self, run: Run, version: str = "1.0.0", *, said: bytes = b"", release_id: int = 1) -> Release:
        """Register a run as the release job does: a record, and an annotated tag that names run and statement.

        `said` is a statement as another version of Trackside writes it.
        """
        tag = f"delay@v{version}"
        statement = "sha256:" + hashlib.sha256(said or statement_of(run, SERVER)).hexdigest()
        text = f"delay v{version}\n\nRun-Id: {run.id}\nStatement-Sha256: {statement.removeprefix('sha256:')}\n"
        self.git("tag", "--annotate", "--message", text, tag, run.source.commit)
        made = Release(
            model="delay",
            version=version,
            tag=tag,
            tag_object=self.git("rev-parse", f"refs/tags/{tag}"),
            commit=run.source.commit,
            run=run.id,
            state="published",
            release_id=release_id,
            url=f"{SERVER}/{run.source.repository}/releases/tag/{tag}",
            model_digest=next(one.digest for one in run.artifacts if one.role == "model"),
            statement_digest=statement,
            metrics=run.metrics,
        )
        self.commit_data({f"releases/delay/{version}.json": dump(made).decode(), run_path(run): dump(run).decode()})
        return made

    def left(self) -> list[str]:
        """What reproductions left in the cache, without environments and the lock's own file."""
        folder = self.root / "cache" / "trackside" / "reproduce"
        return sorted(path.name for path in folder.glob("*") if path.name != ".lock") if folder.is_dir() else []

    def snapshot(self) -> dict[str, str]:
        """Every file of the clone, its `.git` and its DVC cache too, with digest, mode and time."""
        made = {}
        for path in sorted(self.clone.rglob("*")):
            if path.is_file() and not path.is_symlink():
                found = path.stat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                made[path.relative_to(self.clone).as_posix()] = f"{digest} {found.st_mode:o} {found.st_mtime_ns}"
        return made


def python_with(folder: Path, version: str, text: str) -> str:
    """`bin` of an environment whose only package is `tiny`, a module with this text."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "tiny.py").write_text(text)
    info = site / f"tiny-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
    return str(folder / "bin")


def wheel_with(folder: Path, version: str, text: str) -> tuple[Path, str]:
    """A wheel of `tiny`, and the requirement that pins it by its hash."""
    folder.mkdir(exist_ok=True)
    path = folder / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", text)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "tiny.py,,\n")
    return path, f"tiny=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def run_path(run: Run) -> str:
    return f"runs/{run.model}/{run.id}.json"


def changed(run: Run, **fields: Any) -> Run:
    """A record with other values, by name; `environment` and such are given as plain data."""
    plain = json.loads(dump(run))
    for name, value in fields.items():
        plain[name] = {**plain[name], **value} if isinstance(value, dict) else value
    return load(Run, json.dumps(plain).encode())
