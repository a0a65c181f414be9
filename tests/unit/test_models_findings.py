"""What the doctor concludes, for any heap of tags, records and releases: always something to do, never harm."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.documents.release import Asset, Release
from trackside.forge.model import FoundAsset, FoundRelease, TagObject, TagRef
from trackside.models.doctor import findings
from trackside.models.finding import CODES, Clone, DropDraft, DropRemnant, Facts, Republish, Rerun, Retag
from trackside.registry.release import tag_message, waiting
from trackside.registry.state import fold

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
VERSIONS = ("1.0.0", "1.0.1", "2.0.0-rc.1")
COMMITS = ("a" * 40, "b" * 40)
seen: Counter[str] = Counter()


def record(version: str, commit: str, state: Any, release_id: int, old: bool) -> Release:
    return Release(
        model="m",
        version=version,
        tag=f"m@v{version}",
        commit=commit,
        run="r1",
        state=state,
        release_id=release_id,
        statement_digest="sha256:" + "5" * 64,
        created_at="2020-01-01T00:00:00Z" if old else "2026-11-21T11:30:00Z",
        assets=[Asset(name="model.bin", role="model", digest="sha256:" + "1" * 64, size=3, path="model.bin")],
    )


RECORDS = st.lists(
    st.builds(
        record,
        st.sampled_from(VERSIONS),
        st.sampled_from(COMMITS),
        st.sampled_from(("claimed", "draft", "published")),
        st.integers(0, 4),
        st.booleans(),
    ),
    unique_by=lambda one: one.version,
    max_size=3,
)
ASSETS = st.lists(
    st.builds(
        FoundAsset,
        id=st.integers(1, 9),
        name=st.sampled_from(("model.bin", "run.json", "provenance.intoto.json", "x")),
        size=st.integers(2, 3),
        digest=st.sampled_from(("", "sha256:" + "1" * 64, "sha256:" + "2" * 64)),
        uploaded=st.booleans(),
    ),
    unique_by=lambda one: one.name,
    max_size=4,
).map(tuple)


@st.composite
def releases(draw: st.DrawFn) -> tuple[FoundRelease, ...]:
    made = []
    for number in range(1, draw(st.integers(0, 5)) + 1):
        version = draw(st.sampled_from(VERSIONS))
        body = draw(st.sampled_from((waiting("m", version), waiting("m", version) + "<!-- job -->\n", "by hand")))
        tag = draw(st.sampled_from((f"m@v{version}", f"m@v{version}", "v1", "m#prod#1")))
        draft, files = draw(st.booleans()), draw(ASSETS)
        made.append(FoundRelease(id=number, tag=tag, title=f"m {version}", body=body, draft=draft, assets=files))
    return tuple(made)


@st.composite
def tags(draw: st.DrawFn) -> tuple[list[TagRef], dict[str, TagObject]]:
    names = [f"m@v{one}" for one in VERSIONS] + ["m@v1.0.0!#3", "m#prod#1", "m#prod!#1", "m#prod#2", "m@deprecated#4"]
    refs, objects = [], {}
    for name in draw(st.lists(st.sampled_from(names), unique=True)):
        commit, annotated = draw(st.sampled_from(COMMITS)), draw(st.booleans())
        refs.append(TagRef(name=name, object=commit if not annotated else f"{len(refs):040x}", annotated=annotated))
        said = tag_message(record("1.0.0", commit, "published", 1, True)) if draw(st.booleans()) else "by hand\n"
        date = draw(st.sampled_from(("2026-01-01T00:00:00Z", "2001-01-01T00:00:00Z")))
        if annotated:
            objects[name] = TagObject(sha=refs[-1].object, name=name, commit=commit, message=said, date=date)
    return refs, objects


@settings(max_examples=250, deadline=None)
@given(tags(), RECORDS, releases(), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_no_facts_confuse_it_and_no_repair_does_harm(
    tagged: tuple[list[TagRef], dict[str, TagObject]],
    records: list[Release],
    found: tuple[FoundRelease, ...],
    writes: bool,
    cloned: bool,
    rng: random.Random,
) -> None:
    refs, objects = tagged
    proven = {f"m@v{one}": "" if writes else "no statement" for one in VERSIONS[: 1 + cloned]}
    clone = Clone(tags={one.name: one.object for one in refs[::2]}, shallow=writes) if cloned else None
    runs = frozenset({("m", "r1")} if cloned else ())

    def told(refs: list[TagRef], records: list[Release], found: list[FoundRelease]) -> Any:
        facts = Facts(
            state=fold(refs, objects),
            records=tuple(records),
            releases=tuple(found),
            drafts=writes,
            runs=runs,
            doubts=proven,
            now=NOW,
            clone=clone,
        )
        return findings(facts)

    made = told(refs, records, list(found))
    mixed = [list(one) for one in (refs, records, found)]
    for one in mixed:
        rng.shuffle(one)
    assert Counter(map(repr, told(*mixed))) == Counter(map(repr, made))
    state, named = fold(refs, objects), {one.release_id for one in records}
    held = {one.name: one for one in refs}
    for one in made:
        seen[one.code] += 1
        assert one.code in CODES
        assert one.what
        assert one.remedy
        repair = one.repair
        if isinstance(repair, DropDraft):
            assert repair.release.draft
            assert repair.release.id not in named
            assert repair.release.body.startswith("m ")
        if isinstance(repair, DropRemnant):
            assert not repair.asset.uploaded
        if isinstance(repair, Retag):
            there = held.get(repair.name)
            assert repair.before == (there.object if there else "")
            moved = bool(there and (there.annotated or objects_commit(there, objects) != repair.commit))
            doubted = repair.record is not None and proven.get(repair.name, "unknown") != ""
            assert one.force == (moved or doubted)
        if isinstance(repair, Republish):
            assert one.force == (proven.get(repair.release.tag, "unknown") != "")
        if isinstance(repair, Retag | Rerun):
            retired = {f"m@v{version}" for version in state.deregistered("m")}
            assert (isinstance(repair, Retag) and repair.record is None) or one.subject not in retired


def objects_commit(ref: TagRef, objects: dict[str, TagObject]) -> str:
    return objects[ref.name].commit if ref.annotated else ref.object


def test_most_codes_were_met() -> None:
    print(f"{sum(seen.values())} findings of {len(seen)} codes in 250 heaps: {dict(seen)}")
    assert len(seen) >= 15
