"""Every fault at every API call of a rollback and a deprecation: one re-run ends like none."""

from __future__ import annotations

import pytest

from promote_world import Place, staged, swept
from trackside.sandbox.server import Sandbox

pytestmark = pytest.mark.usefixtures("remembering")


@pytest.fixture
def place(sandbox: Sandbox, repo: str) -> Place:
    return staged(sandbox, repo)


def test_rollback_by_hand(place: Place) -> None:
    inputs = {"task": "rollback", "model": "delay", "stage": "staging"}
    calls, ran = swept(place, place.dispatch(inputs, "ada"), "rolled_back")
    assert place.said("delay#staging#3")["Rolled-Back"] == "1.1.0"
    assert [one for _, one in place.deployed()["delay/staging"]] == ["inactive", "inactive", "success"]
    assert calls <= 35
    assert ran >= 50


def test_deprecation_by_hand(place: Place) -> None:
    inputs = {"task": "deprecate", "model": "delay", "version": "1.0.0", "reason": "the wrong year"}
    calls, ran = swept(place, place.dispatch(inputs, "ada"), "deprecated")
    assert place.said("delay@v1.0.0!#3") == {"Version": "1.0.0", "Actor": "ada", "Reason": "the wrong year", "Run": "3"}
    assert calls <= 35
    assert ran >= 50
