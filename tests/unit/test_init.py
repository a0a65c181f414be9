"""`trackside init` on repositories as people have them: what is found, what is written, what is left alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trackside.adopt.draft import config, pipeline, scalar
from trackside.adopt.guess import Candidate, Metric, Table, candidates, direction, is_model
from trackside.adopt.init import shipped_workflow, workflow_names
from trackside.adopt.scan import scan
from trackside.cli import main
from trackside.config.load import load, load_file
from trackside.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
FLIGHTS = ROOT / "examples/flights"
BOTH = ("pull-request.yml", "train.yml")

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    monkeypatch.chdir(tmp_path)

    def typed(*words: str) -> tuple[int, str, str]:
        code = main(words)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return typed


def put(root: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def stage(out: str, **more: Any) -> dict[str, Any]:
    return {"cmd": "python train.py", "deps": ["train.py"], "outs": [out], **more}


def dvc_yaml(**stages: Any) -> str:
    return yaml.safe_dump({"stages": stages})


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def flights(target: Path) -> None:
    """The sample project without what says that it uses Trackside."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "."], cwd=FLIGHTS, capture_output=True, text=True, check=True
    ).stdout
    for path in filter(None, listed.split("\0")):
        if path != "trackside.yaml" and (FLIGHTS / path).is_file():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(FLIGHTS / path, target / path)


def test_the_sample_project_gets_what_it_needs(tmp_path: Path, say: Say) -> None:
    """From the files that its pipeline leaves behind, `init` drafts the policy that the sample has."""
    flights(tmp_path)
    wanted = load_file(FLIGHTS / "trackside.yaml")
    (model,) = wanted.models
    assert model.predictions
    numbers = {metric.name: 0.5 for metric in model.metrics} | {"rows": 3}
    put(tmp_path, {"metrics.json": json.dumps(numbers)})
    import pyarrow
    from pyarrow import parquet

    columns = {"id": [1], "label": [1], "score": [0.5]} | {name: ["a"] for name in model.predictions.slices}
    (tmp_path / "eval").mkdir()
    parquet.write_table(pyarrow.table(columns), tmp_path / model.predictions.file)
    assert say("init")[0] == 0
    found = load_file(tmp_path / "trackside.yaml")
    (drafted,) = found.models
    assert (drafted.name, drafted.path, drafted.stages) == (model.name, model.path, model.stages)
    assert {(m.name, m.file, m.direction) for m in model.metrics} == {
        (m.name, m.file, m.direction) for m in drafted.metrics if m.name != "rows"
    }
    assert drafted.predictions == model.predictions
    assert found.train.requirements == wanted.train.requirements
    assert found.train.runs_on == wanted.train.runs_on
    for name in BOTH:
        assert (tmp_path / ".github/workflows" / name).read_text() == shipped_workflow(name)


def test_a_clone_of_the_sample_needs_the_workflows_only(tmp_path: Path, say: Say) -> None:
    flights(tmp_path)
    shutil.copy(FLIGHTS / "trackside.yaml", tmp_path)
    before = everything(tmp_path)
    assert say("init")[0] == 0
    added = {path for path in everything(tmp_path) if path not in before}
    assert added == {f".github/workflows/{name}" for name in workflow_names()}
    assert {path: data for path, data in everything(tmp_path).items() if path in before} == before


def test_drafts_of_a_sample_without_results_name_what_is_missing(tmp_path: Path, say: Say) -> None:
    flights(tmp_path)
    code, out, _ = say("init")
    assert code == 0
    assert "metrics to be named" in out
    text = (tmp_path / "trackside.yaml").read_text()
    assert "#   accuracy: {file: metrics.json" in text
    assert "# predictions: {file: eval/predictions.parquet" in text
    commented = text.replace("    # metrics:", "    metrics:").replace("    #   accuracy", "      accuracy")
    assert load(commented).models[0].metrics[0].file == "metrics.json"


SAMPLES: list[tuple[str, dict[str, str], dict[str, dict[str, Any]]]] = [
    # name, files, model → what is found of it
    ("one stage", {"dvc.yaml": dvc_yaml(train=stage("model.pkl"))}, {"sample": {"path": "model.pkl"}}),
    ("a folder", {"dvc.yaml": dvc_yaml(train=stage("models"))}, {"sample": {"path": "models"}}),
    (
        "settings at outputs",
        {"dvc.yaml": "stages:\n  t:\n    cmd: x\n    outs:\n      - out/net.onnx: {cache: false}\n"},
        {"net": {"path": "out/net.onnx"}},
    ),
    (
        "templates",
        {
            "params.yaml": "paths: {model: models/price.cbm}\n",
            "dvc.yaml": dvc_yaml(train=stage("${paths.model}")),
        },
        {"price": {"path": "models/price.cbm"}},
    ),
    (
        "variables of a file",
        {"conf/p.yaml": "name: x.pt\n", "dvc.yaml": "vars: [conf/p.yaml]\nstages: {t: {cmd: a, outs: ['${name}']}}\n"},
        {"x": {"path": "x.pt"}},
    ),
    (
        "two models",
        {
            "dvc.yaml": dvc_yaml(
                prepare={"cmd": "p", "deps": ["raw.csv"], "outs": ["data/clean"]},
                fit_a=stage("models/a.joblib", deps=["data/clean"]),
                fit_b=stage("models/b.joblib", deps=["data/clean"]),
                judge_a={"cmd": "e", "deps": ["models/a.joblib"], "metrics": [{"a.json": {"cache": False}}]},
            ),
            "a.json": '{"test": {"rmse": 1.0, "R2": 0.5, "n": 3}}',
        },
        {
            "a": {
                "stages": ("fit_a", "judge_a"),
                "metrics": {"test.rmse": "min", "test.R2": "max", "test.n": "none"},
            },
            "b": {"stages": ("fit_b",), "metrics": {}},
        },
    ),
    (
        "foreach",
        {"dvc.yaml": "stages:\n  t:\n    foreach: [de, fr]\n    do: {cmd: 'a ${item}', outs: ['m/${item}.pkl']}\n"},
        {"de": {"stages": ("t@de",)}, "fr": {"stages": ("t@fr",)}},
    ),
    (
        "matrix",
        {"dvc.yaml": "stages:\n  t:\n    matrix: {l: [de, fr]}\n    cmd: a\n    outs: ['m/${item.l}.pkl']\n"},
        {"de": {"stages": ("t@de",)}, "fr": {"stages": ("t@fr",)}},
    ),
    (
        "a nested pipeline",
        {"ml/dvc.yaml": dvc_yaml(train=stage("price.pkl", metrics=["m.json"])), "ml/m.json": '{"mae": 1}'},
        {"price": {"path": "ml/price.pkl", "metrics": {"mae": "min"}}},
    ),
    (
        "another working folder",
        {"dvc.yaml": dvc_yaml(train=stage("price.pkl", wdir="src"))},
        {"price": {"path": "src/price.pkl"}},
    ),
    (
        "metrics at the top of the file",
        {
            "dvc.yaml": "metrics: [m.yaml]\nstages: {t: {cmd: a, outs: [m.pkl]}}\n",
            "m.yaml": "accuracy: 0.5\nnote: text\nok: true\nbad: .nan\n",
        },
        {"m": {"metrics": {"accuracy": "max"}}},
    ),
    (
        "predictions with other names",
        {
            "dvc.yaml": dvc_yaml(train=stage("m.pkl", outs=["m.pkl", "preds.csv"])),
            "preds.csv": "row_id,y_true,y_pred,region\n1,0,0.5,north\n",
        },
        {"m": {"predictions": ("preds.csv", "y_true", "y_pred", "row_id", ("region",))}},
    ),
    (
        "locks",
        {
            "dvc.yaml": dvc_yaml(train=stage("m.pkl")),
            "requirements-dev.txt": "a==1 --hash=sha256:0\n",
            "env/requirements.txt": "x==1 --hash=sha256:0\n",
            "requirements-serve.txt": "a==1 --hash=sha256:0\n",
            "train/requirements.txt": "a==1 --hash=sha256:0\n",
            "requirements.txt": "a\n",
        },
        {"m": {"requirements": "train/requirements.txt"}},
    ),
]


@pytest.mark.parametrize("case", SAMPLES, ids=[name for name, _, _ in SAMPLES])
def test_what_is_found(case: Any, tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    _, files, expected = case
    root = tmp_path / "sample"
    put(root, files)
    monkeypatch.chdir(root)
    assert say("init")[0] == 0
    found = load_file(root / "trackside.yaml")
    assert {model.name for model in found.models} == set(expected)
    for model in found.models:
        wanted = dict(expected[model.name])
        if "metrics" in wanted:
            assert {m.name: m.direction for m in model.metrics} == wanted.pop("metrics")
        if "predictions" in wanted:
            p = model.predictions
            assert p
            assert (p.file, p.label, p.score, p.id, p.slices) == wanted.pop("predictions")
        if "requirements" in wanted:
            assert found.train.requirements == wanted.pop("requirements")
        assert {key: getattr(model, key) for key in wanted} == wanted
    assert say("check")[0] == 0


def test_nothing_is_overwritten_without_force(tmp_path: Path, say: Say) -> None:
    own = "name: their own\non: push\njobs: {a: {runs-on: x, steps: [{run: make}]}}\n"
    edited = shipped_workflow("pull-request.yml").replace("timeout-minutes: 15", "timeout-minutes: 5")
    put(
        tmp_path,
        {
            "dvc.yaml": dvc_yaml(train=stage("m.pkl")),
            ".github/workflows/train.yml": own,
            ".github/workflows/pull-request.yml": edited,
            ".github/workflows/ci.yml": own,
        },
    )
    before = everything(tmp_path)
    code, out, _ = say("init", "--dry-run")
    assert code == 0
    assert everything(tmp_path) == before
    code, out, _ = say("init")
    assert code == 0
    assert "kept     .github/workflows/train.yml (not Trackside's: rename it" in out
    assert "kept     .github/workflows/pull-request.yml (differs from the shipped one" in out
    assert {path: data for path, data in everything(tmp_path).items() if path in before} == before
    code, out, _ = say("init", "--force", "--dry-run")
    assert "-    timeout-minutes: 5\n+    timeout-minutes: 15" in out
    policy = (tmp_path / "trackside.yaml").read_text() + "# mine\n"
    put(tmp_path, {"trackside.yaml": policy})
    code, out, _ = say("init", "--force", "--json", "--dry-run")
    assert any("trackside.yaml stays" in note for note in json.loads(out)["notes"])
    code, out, _ = say("init", "--force")
    assert out.count("replaced") == 2
    for name in BOTH:
        assert (tmp_path / ".github/workflows" / name).read_text() == shipped_workflow(name)
    assert (tmp_path / ".github/workflows/ci.yml").read_text() == own
    assert (tmp_path / "trackside.yaml").read_text() == policy, "a policy is never replaced"
    assert "same" in say("init")[1]


def test_a_dry_run_shows_differences_that_patch_takes(tmp_path: Path, say: Say) -> None:
    params = ["train.lr", {"conf.toml": ["depth"]}, {"other.yaml": None}]
    pipeline_text = dvc_yaml(train=stage("m.pkl", params=params))
    put(tmp_path, {"dvc.yaml": pipeline_text, ".github/workflows/train.yml": "on: push\n"})
    code, out, _ = say("init", "--dry-run", "--force", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["dry-run"] is True
    assert document["params"] == ["conf.toml:depth", "other.yaml:", "train.lr"]
    rows = {row["path"]: row for row in document["files"]}
    assert rows[".github/workflows/train.yml"]["action"] == "replace"
    assert rows["trackside.yaml"]["action"] == "write"
    (tmp_path / "all.patch").write_text("".join(row["diff"] for row in document["files"]))
    done = subprocess.run(["git", "apply", "-p1", "all.patch"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".github/workflows/train.yml").read_text() == shipped_workflow("train.yml")
    assert say("check")[0] == 0


def test_without_dvc(tmp_path: Path, say: Say) -> None:
    put(tmp_path, {"src/train.py": "import json\n", "params.yaml": "a: 1\n", "data.csv": "a\n"})
    code, _, err = say("init")
    assert code == 2
    assert 'trackside init --command "python src/train.py" --output model.pkl' in err
    assert "pipeline" in err
    words = ["init", "--command", "python src/train.py --lr ${x}", "--output", "model.pkl"]
    code, out, _ = say(*words, "--metrics", "metrics.json", "--input", "data.csv")
    assert code == 0, out
    made = yaml.safe_load((tmp_path / "dvc.yaml").read_text())["stages"]["train"]
    assert made["deps"] == ["data.csv", "src/train.py"]
    assert made["metrics"] == [{"metrics.json": {"cache": False}}]
    assert (tmp_path / ".dvc/.gitignore").read_text() == "/config.local\n/tmp\n/cache\n"
    assert say("check")[0] == 0
    code, _, err = say(*words)
    assert code == 2
    assert "has stages already" in err


def test_the_minimal_pipeline_is_one_that_dvc_runs(tmp_path: Path, say: Say) -> None:
    script = (
        "import json, sys\nopen('out/model.pkl', 'w').write(sys.argv[1])\njson.dump({'acc': 1}, open('m.json', 'w'))\n"
    )
    put(tmp_path, {"fit.py": script, "out/.keep": "", "params.yaml": "lr: 1\n"})
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    command = f"{sys.executable} fit.py '${{HOME}} \"q\" #x: y'"
    assert say("init", "--command", command, "--output", "out/model.pkl", "--metrics", "m.json")[0] == 0
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--quiet"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out/model.pkl").read_text() == '${HOME} "q" #x: y'
    assert (tmp_path / "dvc.lock").is_file()


MISTAKES: list[tuple[dict[str, str], tuple[str, ...], str]] = [
    ({}, (), "there is no pipeline"),
    ({"dvc.yaml": "stages: [\n"}, (), "dvc.yaml:2:1: not valid YAML"),
    ({"dvc.yaml": "- 1\n"}, (), "there is no pipeline"),
    ({"dvc.yaml": dvc_yaml(t=stage("data/x.csv"))}, (), "trackside init --output data/x.csv"),
    ({"dvc.yaml": dvc_yaml(t=stage("m.pkl"))}, ("--output", "other"), "no stage writes other"),
    ({}, ("--command", "python a.py"), "one --output"),
    ({}, ("--command", " ", "--output", "m"), "the command is empty"),
    ({}, ("--command", "a\nb", "--output", "m"), "control characters"),
    ({}, ("--command", "a", "--output", "../m"), "outside the repository"),
    ({}, ("--command", "a", "--output", "/m"), "outside the repository"),
    ({}, ("--command", "a", "--output", "m", "--input", "m"), "both input and output"),
    ({"dvc.yaml": dvc_yaml(t=stage("m.pkl")), "trackside.yaml/x": ""}, (), "is a link, or a folder"),
]


def test_mistakes_are_explained(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, (files, words, text) in enumerate(MISTAKES):
        root = tmp_path / str(index)
        root.mkdir()
        put(root, files)
        monkeypatch.chdir(root)
        before = everything(root)
        code, _, err = say("init", *words)
        assert code == 2, (words, err)
        assert text in err, (text, err)
        assert "fix: " in err or "not valid YAML" in err
        assert everything(root) == before, "a mistake writes nothing"
    print(f"{len(MISTAKES)} mistakes")
    assert len(MISTAKES) == 12


def test_links_are_not_followed(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "train.yml").write_text("theirs")
    for index, link in enumerate((".github", ".github/workflows", ".github/workflows/train.yml", "trackside.yaml")):
        root = tmp_path / f"r{index}"
        put(root, {"dvc.yaml": dvc_yaml(t=stage("m.pkl"))})
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        (root / link).symlink_to(outside / "train.yml" if "." in Path(link).name[1:] else outside)
        monkeypatch.chdir(root)
        code, _, err = say("init", "--force")
        assert code == 2, link
        assert "is a link" in err
    assert {path.name for path in outside.iterdir()} == {"train.yml"}
    assert (outside / "train.yml").read_text() == "theirs"


HOSTILE = [
    "a: b", "- x", "#c", "${{ secrets.X }}", "`id`", "$(id)", "m'; rm -rf x", '"', "\\", "{a}", "[b]", "*x", "&y",
    "!!python", "no", "1e3", "0x1f", "~", "ключ", "🙂", " lead", "trail ", "a\u2028b", "x" * 150,
]  # fmt: skip


def test_hostile_names(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of files and metrics are data: the draft loads, says the same names, and no workflow holds them."""
    for index, name in enumerate(HOSTILE):
        root = tmp_path / f"r{index}"
        out = f"models/{name.strip()}.pkl"
        escaped = stage(out.replace("${", "\\${"), metrics=["m.json"])
        put(root, {"dvc.yaml": dvc_yaml(**{name: escaped}), "m.json": json.dumps({name: 1})})
        monkeypatch.chdir(root)
        code, _, err = say("init")
        assert code == 0, (name, err)
        (model,) = load_file(root / "trackside.yaml").models
        assert model.path == out
        assert [metric.name for metric in model.metrics] == [name]
        for file in (root / ".github/workflows").iterdir():
            assert file.read_text() == shipped_workflow(file.name)
    print(f"{len(HOSTILE)} hostile names")
    assert len(HOSTILE) == 24


@given(st.text(min_size=1, max_size=40))
def test_any_text_is_a_scalar(text: str) -> None:
    clean = "".join(char for char in text if not 0xD800 <= ord(char) <= 0xDFFF)
    assert yaml.safe_load(f"a: {scalar(clean)}")["a"] == clean


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1, max_size=50))
def test_any_names_make_a_policy(metric: str, column: str, path: str) -> None:
    usable = all(ord(char) >= 32 and not 0xD800 <= ord(char) <= 0xDFFF for char in metric + column + path)
    if not usable or path.startswith("/") or ".." in path or "\x7f" <= min(path) <= "\x9f":
        return
    one = Candidate(
        name="m",
        path=path,
        metrics=(Metric(name=metric, file=path, direction="max"),),
        predictions=Table(file=path, label=column, score=column, id=column, slices=(column,)),
    )
    (model,) = load(config([one], lock=path)).models
    assert model.metrics[0].name == metric
    assert model.predictions
    assert model.predictions.slices == (column,)


DIRECTIONS = [
    ("accuracy", "max"), ("test.roc_auc", "max"), ("valLoss", "min"), ("log_loss", "min"), ("RMSE", "min"),
    ("f1", "max"), ("f1_macro", "max"), ("mean_absolute_error", "min"), ("recall@10", "max"), ("rows", "none"),
    ("threshold", "none"),
    ("seconds", "none"), ("brier_score", "min"), ("r2_score", "max"), ("neg_entropy", "none"), ("map", "max"),
]  # fmt: skip
MODELS = [
    ("model.pkl", True), ("models/net", True), ("models", True), ("out/a.safetensors", True),
    ("data/features.pkl", False),
    ("data/prepared", False), ("eval/predictions.pkl", False), ("plots/roc.json", False),
    ("model/xgb_model.json", True),
    ("metrics.json", False), ("checkpoints/last.ckpt", True), ("reports", False), ("a.csv", False),
]  # fmt: skip


def test_guesses() -> None:
    assert [(name, direction(name)) for name, _ in DIRECTIONS] == DIRECTIONS
    assert [(path, is_model(path)) for path, _ in MODELS] == MODELS
    print(f"{len(DIRECTIONS)} metrics, {len(MODELS)} outputs")


def test_a_folder_within_a_repository(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    put(tmp_path, {"ml/dvc.yaml": dvc_yaml(train=stage("m.pkl"))})
    monkeypatch.chdir(tmp_path / "ml")
    code, _, err = say("init")
    assert code == 2
    assert f"fix: cd {tmp_path}" in err
    monkeypatch.chdir(tmp_path)
    assert say("init")[0] == 0


def test_a_default_branch_of_another_name(tmp_path: Path, say: Say) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    words = ["git", "-C", tmp_path, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/release/1.x"]
    subprocess.run(words, check=True)
    put(tmp_path, {"dvc.yaml": dvc_yaml(train=stage("m.pkl"))})
    assert say("init")[0] == 0
    made = yaml.safe_load((tmp_path / ".github/workflows/release.yml").read_text())
    assert made[True]["push"]["branches"] == ["release/1.x"]
    _, out, _ = say("doctor", "--offline", "--json")
    edited = [one for one in json.loads(out)["findings"] if one["check"] == "workflows.edited"]
    assert {one["level"] for one in edited} == {"ok"}


def test_a_model_that_git_tracks_is_told(tmp_path: Path, say: Say) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    put(tmp_path, {"train.py": "", "a model.pkl": "x"})
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    code, out, _ = say("init", "--command", "python train.py", "--output", "a model.pkl")
    assert code == 0
    assert "note: git tracks a model.pkl, which DVC will keep from now on: git rm --cached 'a model.pkl'" in out


def test_what_is_written_has_nothing_for_the_doctor(tmp_path: Path, say: Say) -> None:
    """Round trip: the only finding is what `init` said to do next."""
    flights(tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".dvc/config").write_text("")
    assert "next: a DVC remote" in say("init")[1]
    code, out, _ = say("doctor", "--offline", "--json")
    findings = json.loads(out)["findings"]
    assert [one["check"] for one in findings if one["level"] != "ok"] == ["remote.configured"]
    assert code == 1
    remote = tmp_path.parent / "remote"
    remote.mkdir()
    (tmp_path / ".dvc/config").write_text(f"[core]\n    remote = a\n['remote \"a\"']\n    url = {remote}\n")
    assert say("doctor", "--offline")[0] == 0


def test_large_and_odd_trees(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "dvc.yaml": "stages:\n  a: 1\n  b: {foreach: 3, do: {}}\n  c: {cmd: [x, y], outs: [m.pkl, ../up.pkl, 5]}\n"
            "  d: {foreach: '${missing}', do: {outs: ['${item}.pkl']}}\n  e: {matrix: {x: no}, outs: [z]}\n",
            "node_modules/x/dvc.yaml": "{",
            ".hidden/dvc.yaml": "{",
            "venv3/pyvenv.cfg": "",
            "venv3/dvc.yaml": "{",
            "params.yaml": "[",
            ".dvc/config": "[core\n",
        },
    )
    tree = scan(tmp_path)
    assert tree.pipelines == ("dvc.yaml",)
    assert [model.path for model in candidates(tree)] == ["m.pkl"]
    assert any("outside the repository" in note for note in tree.notes)
    many = {"stages": {"t": {"foreach": list(range(5000)), "do": {"outs": ["${item}.pkl"]}}}}
    put(tmp_path, {"dvc.yaml": yaml.safe_dump(many)})
    assert len(scan(tmp_path).stages) == 100


def test_an_unknown_command_is_refused_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        pipeline("", output="m", metrics=(), inputs=(), root=tmp_path)
