"""What the doctor says of the tag of a released version: the true cause, and nothing of a tag that it made itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from train_samples import OUTSIDE

from trackside.documents.release import Release
from trackside.forge.model import TagObject, TagRef
from trackside.models.doctor import findings
from trackside.models.finding import Facts, Finding
from trackside.registry.release import tag_message
from trackside.registry.state import fold
from trackside.store.layout import FETCH_DATA

NAME, OBJECT, COMMIT = "m@v1.0.0", "0" * 40, "a" * 40


def record(**fields: Any) -> Release:
    plain = {"model": "m", "version": "1.0.0", "tag": NAME, "commit": COMMIT, "run": "r1", "state": "published"}
    return Release(**{**plain, "statement_digest": "sha256:" + "5" * 64, "tag_object": OBJECT, **fields})


def told(release: Release, text: str, **facts: Any) -> list[Finding]:
    refs = [TagRef(name=NAME, object=OBJECT, annotated=True)]
    objects = {NAME: TagObject(sha=OBJECT, name=NAME, commit=COMMIT, message=text, date="2026-01-01T00:00:00Z")}
    now = datetime(2026, 11, 21, tzinfo=UTC)
    return list(findings(Facts(state=fold(refs, objects), records=(release,), now=now, **facts)))


def test_a_tag_as_recorded_is_right() -> None:
    assert told(record(), tag_message(record())) == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"tag_object": "b" * 40}, f"it is {OBJECT[:12]}; the release was made with {'b' * 12}"),
        ({"run": "r2"}, "it names the run r1, the record r2"),
        ({"statement_digest": "sha256:" + "6" * 64}, f"it names the statement {'5' * 12}, the record {'6' * 12}"),
        ({"statement_digest": ""}, f"it names the statement {'5' * 12}, the record none"),
    ],
)
def test_the_true_cause_is_told(fields: dict[str, str], why: str) -> None:
    (one,) = told(record(**fields), tag_message(record()))
    assert (one.code, one.what) == ("tag_rewritten", f"the tag {NAME} is not as recorded: {why}")


def test_a_tag_of_other_words_is_rewritten() -> None:
    (one,) = told(record(), "m 1.0.0\n\nby hand\n")
    assert (one.code, one.force) == ("tag_rewritten", True)
    assert "names no statement" in one.what


def test_a_tag_that_was_made_of_a_record_without_a_statement_is_not_rewritten() -> None:
    release = record(statement_digest="", tag_object="")
    (one,) = told(release, tag_message(release))
    assert (one.code, one.level, one.repair) == ("tag_unbound", "note", None)


@pytest.mark.parametrize("recorded", [True, False])
def test_what_is_for_fix_is_what_fix_can_do(recorded: bool) -> None:
    runs = frozenset({("m", "r1")} if recorded else ())
    (one,) = told(record(), tag_message(record()), releases=(), drafts=True, runs=runs)
    assert one.code == "release_missing"
    assert (one.repair is not None, "doctor --fix" in one.remedy) == (recorded, recorded)


def test_the_data_branch_comes_into_a_clone_of_a_single_branch(tmp_path: Path) -> None:
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    OUTSIDE.run(["git", "init", "-q", "-b", "main", origin])
    OUTSIDE.run(["git", "-C", origin, "commit", "-q", "--allow-empty", "-m", "start"])
    OUTSIDE.run(["git", "-C", origin, "branch", "trackside-data"])
    OUTSIDE.run(["git", "clone", "-q", "--single-branch", origin.as_uri(), clone])
    look = ["git", "-C", clone, "rev-parse", "--quiet", "--verify", "refs/remotes/origin/trackside-data"]
    assert OUTSIDE.run(look, check=False).returncode == 1
    OUTSIDE.run(["git", "-C", clone, *FETCH_DATA.split()[1:]])
    assert OUTSIDE.run(look).text.strip()
    said = [path for path in Path("src").rglob("*.py") if "git fetch origin trackside-data" in path.read_text()]
    assert said == []
