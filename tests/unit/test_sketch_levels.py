"""Levels: exact counts up to a limit, certified ones beyond, whatever the batches, the parts and the order."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trackside.sketch import distinct, levels, texts
from trackside.sketch.levels import LevelCounter, Levels, entropy, exact, hashes_of, merged, named_as, published

FEW = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "", "ü", "~x", "a" * 130]), st.text(max_size=3)))
COUNTS = st.dictionaries(st.text(max_size=2), st.integers(1, 40), max_size=12)


def counted(*batches: object, limit: int = levels.TRACKED) -> Levels:
    counter = LevelCounter(limit=limit)
    for batch in batches:
        counter.add(batch if isinstance(batch, pa.Array) else pa.array(batch, pa.string()))
    return counter.done()


def true_counts(values: Sequence[str | None]) -> dict[str, int]:
    return dict(Counter(texts.level(value) for value in values if value is not None))


def certified(found: Levels, truth: dict[str, int], limit: int) -> None:
    """What `Levels` promises."""
    total = sum(truth.values())
    assert found.count == total
    assert found.rest == total - sum(found.counts.values()) >= 0
    assert len(found.counts) <= limit
    assert found.bound * (limit + 1) <= total
    for name, count in truth.items():
        assert found.counts.get(name, 0) <= count <= found.counts.get(name, 0) + found.bound
    assert set(found.counts) <= set(truth)
    assert list(found.counts.items()) == sorted(found.counts.items(), key=lambda one: (-one[1], one[0]))
    low, high = found.mode_count
    assert low <= max(truth.values(), default=0) <= high
    least, most = entropy(found)
    value = float(stats.entropy(list(truth.values()))) if truth else 0.0
    assert least - 1e-12 <= value <= most + 1e-12


@settings(deadline=None, max_examples=200)
@given(st.lists(FEW, max_size=4), st.randoms())
def test_few_levels_are_counted_exactly(batches: list[list[str | None]], order: random.Random) -> None:
    every = [value for batch in batches for value in batch]
    found = counted(*batches)
    assert (dict(found.counts), found.rest, found.bound) == (true_counts(every), 0, 0)
    assert (found.distinct, found.distinct_error, found.least) == (len(found.counts), 0.0, None)
    order.shuffle(every)
    assert counted(every) == found
    coded = [pa.array(batch, pa.string()).dictionary_encode() for batch in batches]
    wide = [pa.array(batch, pa.large_string()) for batch in batches]
    views = [pa.array(batch, pa.string_view()) for batch in batches]
    assert counted(*coded) == counted(*wide) == counted(*views) == found
    assert merged(*(counted(batch) for batch in batches)) == found


@settings(deadline=None, max_examples=300)
@given(st.lists(COUNTS, min_size=1, max_size=6), st.integers(1, 8), st.randoms())
def test_merges_keep_their_promise_in_every_order(
    parts: list[dict[str, int]], limit: int, order: random.Random
) -> None:
    truth: Counter[str] = Counter()
    for part in parts:
        truth.update(part)
    sketches = [merged(exact(part), limit=limit) for part in parts]
    at_once = merged(*sketches, limit=limit)
    left = sketches[0]
    for one in sketches[1:]:
        left = merged(left, one, limit=limit)
    order.shuffle(sketches)
    while len(sketches) > 1:  # any tree
        one, other = sketches.pop(order.randrange(len(sketches))), sketches.pop(order.randrange(len(sketches)))
        sketches.append(merged(one, other, limit=limit))
    for found in (at_once, left, sketches[0]):
        certified(found, dict(truth), limit)
        assert found.distinct == len(truth)
    if len(truth) <= limit:
        assert at_once == left == sketches[0]
        assert dict(at_once.counts) == dict(truth)


def test_sixty_four_parts_are_the_whole() -> None:
    draws = np.random.default_rng(3)
    values = [f"level {one}" for one in draws.zipf(1.3, 40_000) % 5000]
    whole = counted(values)
    parts = [counted(values[at::64]) for at in range(64)]
    assert merged(*parts) == whole == merged(*(merged(*parts[at : at + 8]) for at in range(0, 64, 8)))
    assert dict(whole.counts) == true_counts(values)


def test_many_levels_are_bounded_and_so_is_what_is_held() -> None:
    draws = np.random.default_rng(4)
    often = [f"often {one}" for one in draws.integers(0, 50, 60_000)]
    values = often + [f"id {one}" for one in range(240_000)]
    draws.shuffle(values)
    truth = true_counts(values)
    batches = [values[at : at + 30_000] for at in range(0, len(values), 30_000)]
    found = counted(*batches, limit=2000)
    certified(found, truth, 2000)
    assert found.bound >= 1
    assert {f"often {one}" for one in range(50)} <= set(found.counts)
    parts = merged(*(counted(batch, limit=2000) for batch in batches), limit=2000)
    certified(parts, truth, 2000)
    assert parts.distinct == found.distinct
    assert abs(found.distinct / len(truth) - 1) < 5 * found.distinct_error < 0.1
    assert parts.least is not None
    assert found.least is not None
    assert np.array_equal(parts.least, found.least)


def test_the_number_of_levels_is_estimated_without_bias() -> None:
    """Ids of several forms, 40 sets: a pure function of the set, and the mean error is that of 40 estimates."""
    errors = []
    for size, form in itertools.product((5000, 20_000, 60_000, 100_000), range(10)):
        names = [f"{one * (form + 1):0{4 + form}d}" if form % 2 else f"user-{form}-{one:x}" for one in range(size)]
        kept = distinct.least(hashes_of(names))
        again = distinct.least(hashes_of(names[: size // 3]))
        assert np.array_equal(distinct.least(hashes_of(reversed(names)), again), kept)
        errors.append((distinct.estimate(kept) / size - 1) / distinct.error(kept))
    print(f"{len(errors)} sets, mean error {np.mean(errors):.2f} and deviation {np.std(errors):.2f} standard errors")
    assert len(errors) == 40
    assert abs(np.mean(errors)) < 4 / np.sqrt(40)
    assert max(map(abs, errors)) < 5


@settings(deadline=None)
@given(st.sets(st.text(max_size=4), max_size=50))
def test_small_sets_are_counted_exactly(names: set[str]) -> None:
    kept = distinct.least(hashes_of(names))
    assert (distinct.estimate(kept), distinct.error(kept)) == (len(names), 0.0)


def _hash(value: bytes) -> int:
    """One text at a time, by the definition."""
    base, mask = 0x9E3779B97F4A7C15, (1 << 64) - 1
    found = (sum((byte + 1) * base**place for place, byte in enumerate(value)) + len(value)) & mask
    found = ((found ^ (found >> 30)) * 0xBF58476D1CE4E5B9) & mask
    found = ((found ^ (found >> 27)) * 0x94D049BB133111EB) & mask
    return found ^ (found >> 31)


def _pattern(value: str) -> str:
    held = value.encode()[:64]
    classes = "".join(
        "a" if byte >= 128 or chr(byte).isalpha() else "9" if chr(byte).isdigit() else " " if byte < 33 or byte == 127
        else chr(byte)
        for byte in held
    )  # fmt: skip
    return re.sub(r"([a9 ])\1+", r"\1", classes) + ("+" if len(value.encode()) > 64 else "")


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.text(max_size=8), st.text(min_size=60, max_size=90), st.text("ab1. -", max_size=20))))
def test_what_is_found_for_many_texts_is_found_for_each(values: list[str]) -> None:
    array = pa.array(["before", *values, "behind"], pa.string())[1:-1]
    held = texts.bytes_of(array)
    assert texts.lengths(*held).tolist() == [len(value) for value in values]
    assert texts.hashes(*held).tolist() == [_hash(value.encode()) for value in values]
    assert [one.decode() for one in texts.patterns(*held).to_pylist()] == [_pattern(value) for value in values]


def test_a_hash_does_not_depend_on_its_neighbours() -> None:
    values = [f"text {one}" for one in range(20_000)]  # more than one slice
    whole = hashes_of(values)
    assert (
        whole.tolist()[9000:9010]
        == hashes_of(values[9000:9010]).tolist()
        == [_hash(v.encode()) for v in values[9000:9010]]
    )


def test_long_and_broken_names_keep_their_identity() -> None:
    long = ["x" * 121, "x" * 122, "y" * 120, "é" * 121]
    found = counted(long, long[:1])
    assert found.counts[texts.level("x" * 121)] == 2
    assert sorted(map(len, found.counts)) == [117, 117, 117, 120]
    assert texts.level("x" * 121).endswith(hashlib.sha256(b"x" * 121).hexdigest()[:16])
    broken = pa.array([b"ok", b"\xff", b"a\xfe"], pa.binary()).view(pa.string())
    assert dict(counted(broken).counts) == {"a�": 1, "ok": 1, "�": 1}


def test_dictionaries_may_hold_nulls_and_one_value_twice() -> None:
    coded = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, None, 3, 0]), pa.array(["a", "b", "a", None]))
    assert dict(counted(coded, coded[1:2]).counts) == {"a": 3, "b": 2}


@pytest.mark.parametrize("size", [levels.TRACKED, levels.TRACKED + 1])
def test_the_limit_is_where_it_says(size: int) -> None:
    names = [f"{one:06d}" for one in range(size)]
    found = counted(names, names[:100], names[::-1])
    if size == levels.TRACKED:
        assert (found.rest, found.bound, found.distinct) == (0, 0, size)
        assert found.counts["000007"] == 3
    else:
        assert found.bound >= 1
        certified(found, true_counts([*names, *names[:100], *names]), levels.TRACKED)


@settings(deadline=None)
@given(COUNTS, st.integers(1, 6))
def test_published_levels_are_as_certified(counts: dict[str, int], limit: int) -> None:
    whole = exact(counts)
    found = published(whole, limit=limit)
    assert (found.count, found.distinct) == (whole.count, whole.distinct)
    assert len(found.counts) <= limit
    hidden = {texts.digest_name(name) for name in counts}
    for name, count in counts.items():
        shown = name if name in found.counts else texts.digest_name(name)
        assert found.counts.get(shown, 0) <= count <= found.counts.get(shown, 0) + found.bound
    for name, count in found.counts.items():
        assert name in hidden or (count >= levels.LEAST_COUNT and not name.startswith("~"))
    low, high = entropy(found)
    assert low - 1e-12 <= entropy(whole)[0] <= high + 1e-12
    assert named_as(whole, found.counts).counts.items() >= found.counts.items()


def test_ids_are_not_published() -> None:
    found = published(exact({"unknown": 40, **{f"id {one}": 1 for one in range(50)}}))
    assert (dict(found.counts), found.rest, found.bound, found.distinct) == ({"unknown": 40}, 50, 1, 51)
    assert len(published(exact({"unknown": 50, **{f"id {one}": 1 for one in range(50)}})).counts) == 51


def test_a_level_that_looks_like_a_digest_is_not_taken_for_one() -> None:
    rare = exact({"rare": 1, "often": 9, texts.digest_name("rare"): 7})
    found = published(rare)
    assert sorted(found.counts.values()) == [1, 7, 9]
    assert named_as(rare, found.counts) == found


def test_parts_of_published_levels_do_not_claim_to_know_how_many_there_are() -> None:
    cut = published(exact({"a": 9, "b": 8, "c": 7}), limit=2)
    found = merged(cut, exact({"a": 1}))
    assert (dict(found.counts), found.rest, found.bound) == ({"a": 10, "b": 8}, 7, 7)
    assert (found.distinct, found.distinct_error) == (3, float("inf"))


def test_entropy_equals_closed_forms() -> None:
    assert entropy(Levels()) == (0.0, 0.0)
    assert entropy(exact({"a": 7})) == (0.0, 0.0)
    assert entropy(exact(dict.fromkeys("abcd", 3))) == pytest.approx((np.log(4), np.log(4)), abs=1e-15)
    counts = np.random.default_rng(1).integers(1, 900, 500)
    found = entropy(exact({str(at): int(count) for at, count in enumerate(counts)}))
    assert found == pytest.approx([float(stats.entropy(counts))] * 2, rel=1e-13)
