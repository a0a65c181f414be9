"""The linters find what they are there for: a file with one planted mistake each, and none in what is shipped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import lint_workflows as lint  # noqa: E402

WORKFLOW = (ROOT / "workflows/train.yml").read_text()
ACTION = (ROOT / "actions/report/action.yml").read_text()

# (old, new, words that a linter must say)
WORKFLOW_MISTAKES = [
    ("mode: admit", "moode: admit", "moode"),
    ("needs: admit\n", "needs: admitt\n", "admitt"),
    ("fromJSON(needs.admit.outputs.runs-on)", "fromJSN(needs.admit.outputs.runs-on)", "fromJSN"),
    ("persist-credentials: false", "persist-credentials: true", "credential"),
    ("actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8 # v6.0.1", "actions/checkout@v6", "pin"),
    ("permissions: {}", "permissions: write-all", "permissions"),
    ("timeout-minutes: 15", "timeout-minuts: 15", "timeout-minuts"),
]
ACTION_MISTAKES = [
    ("${{ inputs.run }}", "${{ inputs.rum }}", "inputs.rum is not defined"),
    ("steps.run.outputs.gate", "steps.rum.outputs.gate", "step rum is not defined"),
    ("      shell: bash\n      env:\n        PYTHON:", "      env:\n        PYTHON:", "shell"),
    ("-m trackside stage report'", "-m trackside stage report ${{ inputs.run }}'", "inside `run:`"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the linters say of each planted mistake, by its place in the lists."""
    root = tmp_path_factory.mktemp("mistakes")
    files = {}
    for index, (old, _, _) in enumerate([("", "", ""), *WORKFLOW_MISTAKES]):
        assert old in WORKFLOW
        files[f"w{index}"] = root / f"w{index}/.github/workflows/train.yml"
    for index, (old, _, _) in enumerate(ACTION_MISTAKES, 1):
        assert old in ACTION
        files[f"a{index}"] = root / f"a{index}/action.yml"
    for key, path in files.items():
        path.parent.mkdir(parents=True)
        shipped, mistakes = (ACTION, ACTION_MISTAKES) if key[0] == "a" else (WORKFLOW, WORKFLOW_MISTAKES)
        old, new, _ = mistakes[int(key[1:]) - 1] if key != "w0" else ("", "", "")
        path.write_text(shipped.replace(old, new, 1) if old else shipped)
    lines = lint.node_linters(list(files.values())).splitlines()
    lines += lint.run(
        lint.BIN / "zizmor", "--offline", "--quiet", "--format", "plain", "--persona", "auditor", root
    ).splitlines()
    by_file = {key: "\n".join(_of(lines, str(path))) for key, path in files.items()}
    for key, path in files.items():
        kind = "actions" if key[0] == "a" else "workflows"
        by_file[key] += lint.run(lint.BIN / "check-jsonschema", "--builtin-schema", f"vendor.github-{kind}", path)
        if key[0] == "a":
            by_file[key] += "\n".join(lint.undefined_in_composite(path))
    return by_file


def _of(lines: list[str], path: str) -> list[str]:
    """Lines about a file: those that name it, and for zizmor's blocks the headline above."""
    return [text for index, line in enumerate(lines) if path in line for text in lines[max(0, index - 1) : index + 1]]


def test_planted_mistakes_are_found(said: dict[str, str]) -> None:
    assert said["w0"] == ""
    cases = 0
    for letter, mistakes in (("w", WORKFLOW_MISTAKES), ("a", ACTION_MISTAKES)):
        for index, (_, new, words) in enumerate(mistakes, 1):
            assert words in said[f"{letter}{index}"], (new, said[f"{letter}{index}"])
            cases += 1
    print(f"{cases} planted mistakes")
    assert cases == 11


def test_what_is_shipped_has_no_findings() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/lint_workflows.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_wrong_yaml_in_the_docs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [
        ("a", "version: 1\nmodels: {m: {pat: x}}\n"),
        ("b", "- uses: trackside-ml/trackside/actions/plan@x\n  with: {mod: plan}\n"),
        (
            "c",
            "on: issues\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'echo ${{ github.event.issue.title }}'}]}}\n",
        ),
        ("d", "- uses: trackside-ml/trackside@x\n  with: {stages: plan}\n"),
    ]
    monkeypatch.setattr(lint, "snippets", lambda: bad)
    wrong = lint.check_snippets()
    by_place = {place: "\n".join(one for one in wrong if one.startswith(place)) for place, _ in bad}
    words = {"a": "pat", "b": "mod", "c": "template-injection", "d": "stages"}
    assert {place for place, word in words.items() if word in by_place[place]} == set(words), by_place
