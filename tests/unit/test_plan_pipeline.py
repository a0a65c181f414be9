"""Resolving pipelines from git objects: what counts for the digest, what does not, and hostile pipelines."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest
from plan_samples import FILES, MODEL, PROCESSES, TRAIN, commit, inputs, repository

from trackside.config.model import Model, TrainPolicy
from trackside.errors import ConfigError
from trackside.plan.objects import GitTree
from trackside.plan.pipeline import PipelineInputs, inputs_of
from trackside.plan.resolve import Job, resolve

Files = dict[str, str]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository(tmp_path_factory.mktemp("pipeline") / "r.git")


def edited(path: str, old: str, new: str) -> Files:
    assert old in FILES[path]
    return {**FILES, path: FILES[path].replace(old, new)}


def without(path: str) -> Files:
    return {name: text for name, text in FILES.items() if name != path}


LOCK = "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    outs:\n    - path: model.bin\n      md5: aa\n"
REORDERED = """\
stages:
  other: {outs: [other.bin], deps: [src/other.py], cmd: 'python src/other.py ${name}'}
  evaluate:
    metrics: [{metrics.json: {cache: false}}]
    params: [{extra.toml: [threshold]}]
    deps: [data/prepared, model.bin, src/evaluate.py]
    cmd: python src/evaluate.py
  train: {outs: [model.bin], params: [train.depth, train.lr], deps: [src/lib, data/prepared/train.csv, src/train.py],
    cmd: python src/train.py}
  prepare: {desc: text, outs: [data/prepared], deps: [data/raw.csv, src/prepare.py],
    cmd: 'python src/prepare.py --months ${months}'}
vars: [config.json]
"""

SAME: dict[str, Files] = {
    "readme": {**FILES, "README.md": "other\n"},
    "docs added": {**FILES, "docs/guide.md": "x"},
    "workflow edited": {**FILES, ".github/workflows/train.yml": "on: push"},
    "dvc.lock added": {**FILES, "dvc.lock": LOCK},
    "dvc.lock broken": {**FILES, "dvc.lock": "{"},
    "key order": {**FILES, "dvc.yaml": REORDERED},
    "params order and comments": {**FILES, "params.yaml": "# c\nseed: 7\ntrain: {depth: 4, lr: 0.1}\nmonths: 3\n"},
    "a parameter that no stage reads": edited("params.yaml", "unused: 1", "unused: 2"),
    "another file of the params format": edited("extra.toml", "note = 'x'", "note = 'y'"),
    "a stage that the model does not need": edited("dvc.yaml", "src/other.py ${name}", "src/other.py --new"),
    "code of such a stage": {**FILES, "src/other.py": "new"},
    "policy of the pull request": {**FILES, "trackside.yaml": "version: 1\n"},
    ".dvc comment": edited("data/raw.csv.dvc", "outs:", "# c\nouts:"),
}
OTHER: dict[str, Files] = {
    "command": edited("dvc.yaml", "python src/train.py", "python -O src/train.py"),
    "upstream command by template": edited("params.yaml", "months: 3", "months: 4"),
    "parameter": edited("params.yaml", "lr: 0.1", "lr: 0.2"),
    "parameter's type": edited("params.yaml", "depth: 4", "depth: 4.0"),
    "parameter as text": edited("params.yaml", "depth: 4", "depth: '4'"),
    "toml parameter": edited("extra.toml", "0.5", "0.6"),
    "code": {**FILES, "src/train.py": "new"},
    "upstream code": {**FILES, "src/prepare.py": "new"},
    "file in a code folder": {**FILES, "src/lib/deep/b.py": "B = 2\n"},
    "file added to a code folder": {**FILES, "src/lib/c.py": ""},
    "file moved in a code folder": {**without("src/lib/a.py"), "src/lib/a2.py": FILES["src/lib/a.py"]},
    "data": edited("data/raw.csv.dvc", "0123", "1123"),
    "lock file": edited("requirements.txt", "2.0", "2.1"),
    "lock file's include": edited("base.txt", "1.14", "1.15"),
    "dependency dropped": edited("dvc.yaml", "deps: [src/evaluate.py, ", "deps: ["),
    "output renamed": edited("dvc.yaml", "metrics.json", "scores.json"),
    "working folder": edited("dvc.yaml", "  train:\n", "  train:\n    wdir: ./\n    always_changed: true\n"),
    "parameter no longer read": edited("dvc.yaml", "[train.lr, train.depth]", "[train.lr]"),
}


def resolved(repo: Path, trees: dict[str, Files]) -> dict[str, PipelineInputs]:
    """All trees in one child process."""
    commits = {name: commit(repo, files, ref=f"refs/heads/t{n}") for n, (name, files) in enumerate(trees.items())}
    raws = resolve(repo, [Job(commit=sha, overrides={}) for sha in commits.values()], processes=PROCESSES)
    made = {}
    for (name, sha), raw in zip(commits.items(), raws, strict=True):
        assert not isinstance(raw, ConfigError), (name, raw)
        made[name] = inputs_of(GitTree.open(repo, sha, PROCESSES), raw, MODEL, TRAIN)
    return made


def test_the_digest_changes_with_each_relevant_change_and_with_no_other(repo: Path) -> None:
    made = resolved(repo, {"": FILES, **SAME, **OTHER})
    base = made[""].digest
    assert {name for name in SAME if made[name].digest != base} == set()
    assert {name for name in OTHER if made[name].digest == base} == set()
    digests = {made[name].digest for name in OTHER}
    print(f"{len(SAME)} changes keep the digest, {len(OTHER)} change it, to {len(digests)} different ones")
    assert len(digests) == len(OTHER) == 18
    assert len(SAME) == 13


def test_stages_dependencies_and_parameters_of_the_sample(repo: Path) -> None:
    made = inputs(repo, FILES)
    assert [stage.name for stage in made.stages] == ["prepare", "train", "evaluate"]
    assert made.targets == ("evaluate",)
    assert made.stages[0].cmd == ("python src/prepare.py --months 3",)
    assert made.stages[2].upstream == ("prepare", "train")
    assert {(d.path, d.kind) for d in made.dependencies} == {
        ("base.txt", "lock"),
        ("requirements.txt", "lock"),
        ("data/raw.csv", "data"),
        ("src/prepare.py", "code"),
        ("src/train.py", "code"),
        ("src/evaluate.py", "code"),
        ("src/lib", "code"),
    }
    data = next(d for d in made.dependencies if d.kind == "data")
    assert (data.digest, data.size) == ("md5:0123456789abcdef0123456789abcdef", 12)
    assert next(d for d in made.dependencies if d.path == "src/lib").files == 2
    assert made.params == {"extra.toml:threshold": 0.5, "months": 3, "train.depth": 4, "train.lr": 0.1}
    assert (made.missing, made.volatile) == ((), ())


FULL = {
    "dvc.yaml": """\
stages:
  fit:
    foreach: {a: {lr: 0.1}, b: {lr: 0.2}}
    do:
      cmd: python fit.py ${key} ${item.lr}
      deps: [fit.py, data/images, https://example.org/x.csv]
      params: [conf.py: [Net.depth, rate], whole.json: ]
      outs: ["out/${key}.bin"]
  grid:
    matrix: {x: [1, 2], y: [u, v]}
    cmd: echo ${item.x} ${item.y}
    deps: [out/a.bin]
    outs: ["grid/${key}.txt"]
  sum:
    cmd: [cat grid/*, "cat ${big}"]
    deps: [grid, sub/made.txt, link.py, mod]
    outs: [sum.txt]
  frozen:
    cmd: a
    frozen: true
    outs: [frozen.txt]
vars: [{big: vars}]
""",
    "sub/dvc.yaml": """\
vars: [values.yaml]
stages:
  make:
    wdir: inner
    cmd: make ${who}
    deps: [../up.txt, frozen2/../../../frozen.txt]
    outs: [../made.txt]
""",
    "sub/values.yaml": "who: me\n",
    "sub/up.txt": "up",
    "conf.py": "import os\nos.system('touch MARK')\nrate: float = 0.5\nclass Net:\n    depth = 3\n",
    "whole.json": '{"a": {"b": 1}}',
    "fit.py": "x",
    "real/code.py": "y",
    "link.py": "real/code.py",
    "mod": "real",
    "data/images.dvc": "outs:\n- md5: 00112233445566778899aabbccddeeff.dir\n  size: 9\n  nfiles: 3\n  path: images\n",
    "dvc.lock": "schema: '2.0'\nstages:\n  frozen:\n    cmd: a\n    outs: [{path: frozen.txt, md5: abc}]\n",
    "ignored/dvc.yaml": "stages: [broken",
    ".dvcignore": "/ignored\n",
}
LINKS = {"link.py": "120000", "mod": "120000"}


def test_nested_files_templates_links_and_every_params_format(repo: Path, tmp_path: Path) -> None:
    model = Model(name="m", path="sum.txt", stages=("sum", "fit"))
    made = inputs(repo, FULL, model=model, train=TrainPolicy(), modes=LINKS)
    assert made.targets == ("sum", "fit@a", "fit@b")
    names = [stage.name for stage in made.stages]
    assert sorted(names) == sorted(
        ["fit@a", "fit@b", "frozen", "grid@1-u", "grid@1-v", "grid@2-u", "grid@2-v", "sub/dvc.yaml:make", "sum"]
    )
    assert names.index("fit@a") < names.index("grid@1-u") < names.index("sum")
    stages = {stage.name: stage for stage in made.stages}
    assert stages["fit@b"].cmd == ("python fit.py b 0.2",)
    assert stages["sum"].cmd == ("cat grid/*", "cat vars")
    assert stages["sub/dvc.yaml:make"].wdir == "sub/inner"
    assert stages["sub/dvc.yaml:make"].deps == ("sub/up.txt", "frozen.txt")
    assert stages["sub/dvc.yaml:make"].upstream == ("frozen",)
    assert stages["fit@a"].params == {"conf.py": {"Net.depth": 3, "rate": 0.5}, "whole.json": {"a": {"b": 1}}}
    assert made.params["sub/values.yaml:who"] == "me"
    assert made.volatile == ("https://example.org/x.csv",)
    kinds = {d.path: (d.kind, d.digest, d.files) for d in made.dependencies}
    assert kinds["data/images"] == ("data", "md5:00112233445566778899aabbccddeeff.dir", 3)
    assert kinds["https://example.org/x.csv"][0] == "external"
    assert kinds["mod"][2] == 1
    assert made.missing == ()
    assert not list(tmp_path.rglob("MARK"))
    changes = {
        "link's target": {**FULL, "real/code.py": "z"},
        "frozen output": {**FULL, "dvc.lock": FULL["dvc.lock"].replace("abc", "abd")},
        "python parameter": {**FULL, "conf.py": FULL["conf.py"].replace("= 3", "= 4")},
        "whole json": {**FULL, "whole.json": '{"a": {"b": 2}}'},
        "nested variable": {**FULL, "sub/values.yaml": "who: you\n"},
    }
    digests = {inputs(repo, tree, model=model, train=TrainPolicy(), modes=LINKS).digest for tree in changes.values()}
    assert len(digests | {made.digest}) == len(changes) + 1 == 6


def test_an_executable_bit_and_a_submodule_count(repo: Path) -> None:
    plain = inputs(repo, FILES).digest
    executable = inputs(repo, FILES, modes={"src/train.py": "100755"}).digest
    in_folder = inputs(repo, FILES, modes={"src/lib/a.py": "100755"}).digest
    sub = [inputs(repo, {**FILES, "src/lib/vendor": c * 40}, modes={"src/lib/vendor": "160000"}).digest for c in "ab"]
    assert len({plain, executable, in_folder, *sub}) == 5


def test_what_the_tree_lacks_is_named(repo: Path) -> None:
    files = {**without("src/train.py"), "params.yaml": "months: 3\ntrain: {lr: 1}\n"}
    del files["base.txt"]
    assert inputs(repo, files).missing == ("base.txt", "params.yaml:train.depth", "src/train.py")


def test_odd_values_and_names_still_make_a_document(repo: Path) -> None:
    odd = [
        '"\\ud800"',
        '"\\ud801"',
        str(10**30),
        str(10**30 + 1),
        ".inf",
        "!!binary aGk=",
        "[1, {a: .nan}]",
    ]
    texts = [f"months: 3\ntrain: {{lr: {value}, depth: 1}}\n" for value in odd]
    made = [inputs(repo, {**FILES, "params.yaml": text}) for text in texts]
    assert len({one.digest for one in made}) == len(odd) == 7
    for one in made:
        msgspec.json.encode(one.params)
    for path in ("a\udcff/dvc.yaml", "a\udcff/x.dvc"):
        text = "stages: {x: {cmd: a}}" if path.endswith("yaml") else "outs: [{path: x, md5: abc}]"
        with pytest.raises(ConfigError, match="not a usable path") as caught:
            inputs(repo, {**FILES, path: text})
        caught.value.render().encode()


def test_imported_data_is_known_by_its_revision(repo: Path) -> None:
    def tree(rev: str) -> Files:
        text = (
            f"deps:\n- path: x\n  repo:\n    url: https://example.org/r\n    rev_lock: {rev}\nouts:\n- path: raw.csv\n"
        )
        return {**FILES, "data/raw.csv.dvc": text}

    one, two = (inputs(repo, tree(rev)) for rev in ("aaa", "bbb"))
    assert next(d for d in one.dependencies if d.path == "data/raw.csv").kind == "external"
    assert one.digest != two.digest


def chain(count: int) -> str:
    rows = "".join(f"  s{n}: {{cmd: a, deps: [f{n}], outs: [f{n + 1}]}}\n" for n in range(count))
    return "stages:\n" + rows


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
HOSTILE: dict[str, tuple[str, str, str]] = {
    # name: (file, text, words of the error)
    "10k stages": ("dvc.yaml", chain(10_000), "more than 60,000 entries"),
    "3k stages": ("dvc.yaml", chain(3_000), "more than 2,000 stages"),
    "matrix of 10^12": (
        "dvc.yaml",
        "stages:\n  evaluate:\n    matrix:\n"
        + "".join(f"      k{n}: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n" for n in range(12))
        + "    cmd: echo ${item}\n",
        "more than 2,000 stages",
    ),
    "alias bomb": ("params.yaml", BOMB, "more than 60,000 entries"),
    "alias bomb in dvc.yaml": ("dvc.yaml", BOMB + "stages: {}\n", "more than 60,000 entries"),
    "alias of itself": ("params.yaml", "a: &a [*a]\n", "contains itself"),
    "huge file": ("dvc.yaml", "#" * 3_000_000, "more than 2,097,152 bytes"),
    "deep nesting": ("params.yaml", "a: " + "[" * 20_000 + "]" * 20_000, "nested too deeply"),
    "template bomb": (
        "dvc.yaml",
        "vars: [{big: '" + "x" * 900_000 + "'}]\nstages:\n  evaluate:\n    cmd: '" + "${big}" * 5_000 + "'\n",
        "takes too long or too much memory",
    ),
    "100k templates": ("dvc.yaml", "stages: {evaluate: {cmd: '" + "${big}" * 100_000 + "'}}", "more than 20,000"),
    "absolute dependency": ("dvc.yaml", "stages: {evaluate: {cmd: a, deps: [/etc/passwd]}}", "outside the repository"),
    "dependency above": ("dvc.yaml", "stages: {evaluate: {cmd: a, deps: [a/../../b]}}", "outside the repository"),
    "output above": ("dvc.yaml", "stages: {evaluate: {cmd: a, outs: [../b]}}", "outside the repository"),
    "home": ("dvc.yaml", "stages: {evaluate: {cmd: a, deps: [~/b]}}", "outside the repository"),
    "wdir above": ("dvc.yaml", "stages: {evaluate: {cmd: a, wdir: ../..}}", "outside the repository"),
    "params above": ("dvc.yaml", "stages: {evaluate: {cmd: a, params: [../../etc/x.yaml: [a]]}}", "outside"),
    "vars outside": ("dvc.yaml", "vars: [/etc/hostname]\nstages: {evaluate: {cmd: a}}", "does not exist"),
    "git folder": ("dvc.yaml", "stages: {evaluate: {cmd: a, deps: [.git/config]}}", "git's own"),
    "cycle": (
        "dvc.yaml",
        "stages: {evaluate: {cmd: a, deps: [x], outs: [y]}, b: {cmd: b, deps: [y], outs: [x]}}",
        "circle: evaluate → b → evaluate",
    ),
    "own output": ("dvc.yaml", "stages: {evaluate: {cmd: a, deps: [x], outs: [x]}}", "circle"),
    "one output twice": ("dvc.yaml", "stages: {evaluate: {cmd: a, outs: [x]}, b: {cmd: b, outs: [./x]}}", "both make"),
    "not YAML": ("dvc.yaml", "stages: [", "dvc.yaml:1:10: not valid YAML"),
    "params not YAML": ("params.yaml", "a: 1\nb: ]\n", "params.yaml:2:4: not valid YAML"),
    "bad ignore file": (".dvcignore", "!\n", ""),
    "not a mapping": ("dvc.yaml", "- a\n", "dvc.yaml: expected a dictionary"),
    "wrong type": ("dvc.yaml", "stages: {evaluate: {cmd: {}}}", "dvc.yaml: "),
    "unknown variable": ("dvc.yaml", "stages: {evaluate: {cmd: 'echo ${nope}'}}", "nope"),
    "binary": ("dvc.yaml", "\x00\x01", "dvc.yaml"),
    "stage gone": ("dvc.yaml", "stages: {prepare: {cmd: a}}", "needs stage 'evaluate'"),
    "no stages": ("dvc.yaml", "{}", "no pipeline"),
    "python params that do not parse": (
        "dvc.yaml",
        "stages: {evaluate: {cmd: a, params: [src/bad.py: [a]]}}",
        "Python file structure is corrupted",
    ),
    ".dvc that is a list": ("data/raw.csv.dvc", "- a\n", "not a .dvc file"),
    ".dvc above": ("data/raw.csv.dvc", "outs:\n- path: ../../x\n  md5: a\n", "outside the repository"),
    "newline in a path": ("dvc.yaml", 'stages: {evaluate: {cmd: a, deps: ["a\\nb"]}}', "not a usable path"),
    "lock outside": ("requirements.txt", "-r ../../x.txt\n", "outside the repository"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pipeline_is_an_error_in_bounded_time(repo: Path, name: str) -> None:
    file, text, words = HOSTILE[name]
    files = {**FILES, file: text, "src/bad.py": "def (:"}
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        inputs(repo, files)
    seconds = time.monotonic() - started
    assert words in str(caught.value)
    assert seconds < 60, seconds
    assert "Traceback" not in caught.value.render()


def _mutated(random: Random) -> str:
    """A sample's dvc.yaml with a few pieces replaced, dropped or repeated."""
    values = "{n: 5, m: {a: [1]}, l: [1, x]}"
    text = random.choice(
        [
            FULL["dvc.yaml"].replace("{big: vars}", "{big: vars}, " + values),
            FILES["dvc.yaml"].replace("- config.json", "- config.json\n  - " + values),
        ]
    )
    junk = ["${n}", "${m}", "${l}", "${key}", "[]", "{}", "null", "5", "true", "..", "/", "a: b", "*x", "&x", "!!set"]
    words = re.split(r"([\s,:\[\]{}]+)", text)
    for _ in range(random.randint(1, 2)):
        place = random.randrange(len(words))
        words[place] = random.choice([*junk, "", words[place] * 2, random.choice(words), random.choice(words), "'"])
    return "".join(words)


def test_mutated_pipelines_are_read_or_explained_and_nothing_else(repo: Path) -> None:
    random = Random(20)
    texts = [_mutated(random) for _ in range(250)]
    extra = [
        f"stages: {{evaluate: {{cmd: a, {key}: ['${{n}}']}}}}\nvars: [{{n: 5}}]\n" for key in ("deps", "outs", "params")
    ]
    extra.append("stages: {evaluate: {cmd: '${n}', wdir: '${n}'}}\nvars: [{n: 5}]\n")
    trees = [{**FILES, **FULL, "dvc.yaml": text} for text in texts + extra]
    commits = [commit(repo, tree, ref=f"refs/heads/m{n}") for n, tree in enumerate(trees)]
    raws = resolve(repo, [Job(commit=sha, overrides={}) for sha in commits], processes=PROCESSES)
    outcomes = Counter[str]()
    for sha, raw in zip(commits, raws, strict=True):
        try:
            if isinstance(raw, ConfigError):
                raise raw
            inputs_of(GitTree.open(repo, sha, PROCESSES), raw, Model(name="m", path="x"), TRAIN)
        except ConfigError:
            outcomes["explained"] += 1
        else:
            outcomes["read"] += 1
    print(f"{outcomes.total()} pipelines: {dict(outcomes)}")
    assert outcomes.total() == 254
    assert min(outcomes.values()) >= 20


def test_a_chain_as_long_as_is_allowed_is_ordered(repo: Path) -> None:
    files = {"dvc.yaml": chain(2_000), "f0": ""}
    made = inputs(repo, files, model=Model(name="m", path="f2000", stages=("s1999",)), train=TrainPolicy())
    assert [stage.name for stage in made.stages] == [f"s{n}" for n in range(2_000)]


def test_links_that_leave_the_tree_or_form_a_loop_are_not_followed(repo: Path) -> None:
    links = {"src/train.py": "120000"}
    for target in ("/etc/passwd", "../../outside", "train.py", "nowhere"):
        assert inputs(repo, {**FILES, "src/train.py": target}, modes=links).missing == ("src/train.py",)
    with pytest.raises(ConfigError, match="loop"):
        inputs(repo, {**FILES, "src/lib/self": "."}, modes={"src/lib/self": "120000"})


def test_overrides_change_command_and_parameters_and_are_checked(repo: Path) -> None:
    base = inputs(repo, FILES)
    made = inputs(repo, FILES, overrides={"months": 5, "train.lr": 1, "extra.toml:threshold": 0.75})
    assert made.stages[0].cmd == ("python src/prepare.py --months 5",)
    assert made.stages[1].params == {"params.yaml": {"train.lr": 1.0, "train.depth": 4}}
    assert made.stages[2].params == {"extra.toml": {"threshold": 0.75}}
    assert made.digest != base.digest
    edited_tree = {
        **FILES,
        "params.yaml": "months: 5\ntrain: {lr: 1.0, depth: 4}\n",
        "extra.toml": "threshold = 0.75\n",
    }
    assert inputs(repo, edited_tree).digest == made.digest


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"train.lrr": 0.1}, "did you mean 'train.lr'"),
        ({"nope.yaml:a": 1}, "nope.yaml does not exist"),
        ({"train.depth": "4"}, "whole number"),
        ({"train.depth": 4.5}, "whole number"),
        ({"train.depth": True}, "whole number"),
        ({"train": 1}, "a group"),
        ({"train.lr": {"a": 1}}, "only numbers"),
        ({"": 1}, "not a parameter name"),
        ({"train.lr": float("inf")}, "finite"),
        ({f"p{n}": 1 for n in range(101)}, "at most 100"),
        ({"../../etc/x.yaml:a": 1}, "does not exist"),
    ],
)
def test_wrong_overrides_are_explained(repo: Path, overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        inputs(repo, FILES, overrides=overrides)
    assert words in caught.value.render()
