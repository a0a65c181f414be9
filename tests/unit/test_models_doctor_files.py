"""Never silently wrong: releases, drafts, files and records that are missing, damaged or left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from doctor_cases import FILES, Case, answers, examine
from doctor_world import World, building

from sweeps import Prepared
from trackside.sandbox.server import Sandbox

COUNTED: list[str] = []


@pytest.fixture(scope="module")
def built(server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Prepared]]:
    yield from building(server, tmp_path_factory.mktemp("doctor"))


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_commands_are_right_or_say_what_to_do(
    built: tuple[World, Prepared], sandbox: Sandbox, tmp_path: Path, case: Case
) -> None:
    """Each command, then, with the same harm done anew, the doctor."""
    (first, prepared), fired = built, sandbox.faults.fired
    for number, look in enumerate((answers, None)):
        prepared.restore()
        world = World(at=first.at, clone=tmp_path / f"clone-{number}", commits=first.commits)
        case.suffer(world)
        if look:
            assert look(world) == case.says
        else:
            examine(world, case)
        COUNTED.append(case.name)
    assert sandbox.faults.fired == fired


def test_every_case_was_looked_at() -> None:
    print(f"{len(COUNTED) // 2} cases of releases and records, 8 commands each")
    assert [case.name for case in FILES for _ in range(2)] == COUNTED
