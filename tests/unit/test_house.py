"""The rules of the house: who may import what, how large files grow, one table for inputs, one list of reasons."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trackside.config.inputs import inputs_of, outputs_of
from trackside.reasons import REASONS

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src/trackside"
# Stand-ins for other actions are programs of their own that the runner starts.
MODULES = sorted(path for path in SOURCE.rglob("*.py") if "shims" not in path.parts)

# import → the only modules that may have it
ALONE = {"github": {"forge/github.py"}, "subprocess": {"system/process.py"}}


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


def test_the_outside_is_touched_in_one_place_each() -> None:
    for path in MODULES:
        for module in imports(path):
            if module in ALONE:
                assert name(path) in ALONE[module], f"{name(path)} imports {module}"
        if name(path) != "cli.py":
            assert not re.search(r"\bos\.(environ|getenv|putenv)\b", path.read_text()), (
                f"{name(path)} reads the environment"
            )


def test_modules_stay_small() -> None:
    sizes = {name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {path: size for path, size in sizes.items() if size > 400} == {}
    for folder in {path.parent for path in MODULES}:
        text = (folder / "__init__.py").read_text() if (folder / "__init__.py").exists() else ""
        assert text.startswith('"""') or not list(folder.glob("*.py")), f"{folder} has no sentence"


def test_version_imports_nothing_heavy() -> None:
    script = (
        "import sys; from trackside.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'github', 'dvc', 'pandas', 'jinja2', 'yaml', 'requests', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("action", sorted(path.parent.name for path in (ROOT / "actions").glob("*/action.yml")))
def test_the_inputs_table_is_the_action_file(action: str) -> None:
    shipped = yaml.safe_load((ROOT / f"actions/{action}/action.yml").read_text())
    rows = {
        row.name: (row.description, row.required, None if row.required else row.default) for row in inputs_of(action)
    }
    assert {
        key: (one["description"], one["required"], one.get("default")) for key, one in shipped["inputs"].items()
    } == rows
    made = {
        row.name: (row.description, f"${{{{ steps.{row.step}.outputs.{row.name} }}}}") for row in outputs_of(action)
    }
    assert {key: (one["description"], one["value"]) for key, one in shipped["outputs"].items()} == made
    if action != "setup":
        env = shipped["runs"]["steps"][-1]["env"]
        for row in inputs_of(action):
            assert env[row.variable] == f"${{{{ inputs.{row.name} }}}}"
    page = (ROOT / "docs/actions.md").read_text()
    for row in inputs_of(action):
        assert f"| `{row.name}` |" in page


def test_every_reason_code_is_listed() -> None:
    used = set()
    for path in MODULES:
        used |= set(re.findall(r"reason_code(?:: str)? ?= ?\"([a-z_]+)\"", path.read_text()))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "reason_code":  # also those of a choice
                texts = [one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)]
                used |= {one for one in texts if isinstance(one, str) and re.fullmatch(r"[a-z]+(_[a-z]+)*", one)}
    used.discard("reason_code")  # the key of a child's answer
    missing = used - set(REASONS)
    assert not missing, f"not in reasons.py: {sorted(missing)}"
    assert list(REASONS) == sorted(REASONS)
    page = (ROOT / "docs/reason-codes.md").read_text()
    for code in REASONS:
        assert f"| `{code}` |" in page


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/generate_docs.py", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_links_lead_somewhere() -> None:
    """Pages that errors name, and relative links of every Markdown page."""
    named: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LINK":
                named.add(ast.literal_eval(node.value))
            if isinstance(node, ast.keyword) and node.arg == "link" and isinstance(node.value, ast.Constant):
                named.add(str(node.value.value))
    named.discard("")
    assert len(named) >= 7
    assert {page for page in named if not (ROOT / "docs" / page.split("#")[0]).is_file()} == set()
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pages = [file for file in listed.split() if not file.startswith("tests/")]
    linked = []
    for file in pages:
        text = re.sub(r"```.*?```", "", (ROOT / file).read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target:
                assert ((ROOT / file).parent / target).exists(), f"{file} links to {target}"
                linked.append(((ROOT / file).parent / target).resolve())
    print(f"{len(named)} pages of errors, {len(linked)} links of pages")
    assert len(linked) >= 15
    assert [file for file in pages if file.startswith("docs/") and (ROOT / file).resolve() not in linked] == []


def test_shipped_files_pin_one_release() -> None:
    used = []
    for path in [*(ROOT / "workflows").glob("*.yml"), ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        used += re.findall(r"uses: trackside-ml/trackside(?:/([\w/-]+))?@(\S+)", path.read_text())
    (pin,) = {pin for _, pin in used}
    assert re.fullmatch(r"[0-9a-f]{40}", pin)
    git = ["git", "-C", ROOT, "cat-file", "-e"]
    if subprocess.run([*git, pin], capture_output=True).returncode:
        pytest.skip("this clone lacks the pinned commit")
    for action in {action for action, _ in used}:
        held = subprocess.run([*git, f"{pin}:{action or '.'}/action.yml"], capture_output=True).returncode == 0
        assert held, f"the pinned commit has no {action}: scripts/pin.sh COMMIT"


def test_no_index_address_or_machine_path_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    hosts = re.compile("|".join(["py" + "pi.org", "python" + "hosted", "registry.npm" + "js", "deb.deb" + "ian.org"]))
    for file in filter(None, listed.split("\0")):
        path = ROOT / file
        if path.suffix in (".gz", ".png") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not hosts.search(text), f"{file} names a registry"
        assert str(ROOT) not in text, f"{file} holds a path of this machine"
