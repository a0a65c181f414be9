"""Every fault at every API call of a promotion that a comment asks for: one re-run ends like none."""

from __future__ import annotations

import pytest

from promote_world import Place, staged, swept
from trackside.sandbox.server import Sandbox

pytestmark = pytest.mark.usefixtures("remembering")


@pytest.fixture
def place(sandbox: Sandbox, repo: str) -> Place:
    return staged(sandbox, repo)


def test_promotion_asked_for_by_a_comment(place: Place) -> None:
    place.open()
    comment = place.say("/promote delay@v1.0.0 staging")
    calls, ran = swept(place, place.dispatch({"task": "promote", "comment": comment}), "promoted")
    assert place.tags()[-1] == "delay#staging#3"
    assert place.deployed()["delay/staging"][-1] == ("delay#staging#3", "success")
    assert calls <= 45
    assert ran >= 70
