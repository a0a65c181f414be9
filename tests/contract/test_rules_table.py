"""The table of docs/sandbox.md names every rule's test, and every such test has its row."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_rows_and_tests_agree() -> None:
    table = (HERE.parents[1] / "docs" / "sandbox.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .+ \| .+ \| `(test_\w+)` \|$", table, re.MULTILINE)
    modules = [path for path in sorted(HERE.glob("test_rules_*.py")) if path != Path(__file__)]
    tests = [name for path in modules for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)]
    assert sorted(rows) == sorted(tests)
    assert len(rows) >= 37
