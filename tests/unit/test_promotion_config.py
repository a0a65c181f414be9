"""`promotion` of trackside.yaml: names as ever, or sections with what a stage asks for."""

from __future__ import annotations

import pytest

from trackside.config.load import load
from trackside.config.model import Model, StagePolicy
from trackside.config.raw import json_schema
from trackside.errors import ConfigError


def model(promotion: str) -> Model:
    return load(f"version: 1\nmodels:\n  delay:\n    path: m\n    promotion: {promotion}\n").models[0]


def test_names_alone_mean_what_they_always_did() -> None:
    plain = load("version: 1\nmodels: {delay: {path: m}}\n").models[0]
    assert plain == Model(name="delay", path="m")
    assert plain.promotion == ("staging", "prod")
    assert model("[shadow, canary, prod]").gates == (
        StagePolicy(stage="shadow"),
        StagePolicy(stage="canary", after=("shadow",)),
        StagePolicy(stage="prod", after=("canary",)),
    )
    assert model("[]").promotion == ()


def test_a_section_says_what_a_stage_asks_for() -> None:
    made = model(
        "[shadow, {stage: canary, after: []}, {stage: prod, after: [shadow, canary], approvals: 2, branch: any,"
        " checks: [trackside / delay], attestation: true, image: true}, {stage: eu, after: prod}]"
    )
    assert made.promotion == ("shadow", "canary", "prod", "eu")
    assert made.gate("canary") == StagePolicy(stage="canary")
    assert made.gate("prod") == StagePolicy(
        stage="prod", after=("shadow", "canary"), approvals=2, branch="any", checks=("trackside / delay",),
        attestation=True, image=True,
    )  # fmt: skip
    assert made.gate("eu") == StagePolicy(stage="eu", after=("prod",))
    assert made.gate("moon") is None


@pytest.mark.parametrize(
    ("promotion", "column", "words"),
    [
        ("[{stage: a, after: b}, b]", 28, "a cannot come after 'b', which is not before"),
        ("[{stage: a, after: [a]}]", 28, "cannot come after 'a'"),
        ("[a, a]", 20, "stage 'a' appears twice"),
        ("[a, {stage: a}]", 20, "stage 'a' appears twice"),
        ("[a, {stage: b, aprovals: 2}]", 31, "did you mean 'approvals'?"),
        ("[a, {stage: b, approvals: -2}]", 31, ">= 0"),
        ("[a, {stage: b, checks: ['']}]", 31, "length >= 1"),
        ("[a, 3]", 20, "got `int`"),
        ("[a, b/c]", 20, "matching regex"),
        ("[{after: b}]", 17, "lacks the key 'stage'"),
        ("{}", 5, "Expected `array`"),
        ("[{stage: b, branch: main}]", 28, "branch"),
        ("[[a]]", 17, "got `array`"),
        ("[null]", 17, "got `null`"),
    ],
)
def test_mistakes_have_a_place(promotion: str, column: int, words: str) -> None:
    with pytest.raises(ConfigError) as told:
        model(promotion)
    text = told.value.render()
    assert words in text
    assert f"trackside.yaml:5:{column}:" in text


def test_editors_know_both_forms() -> None:
    schema = json_schema()
    items = schema["$defs"]["RawModel"]["properties"]["promotion"]["items"]
    kinds = {one.get("type") or one["$ref"].rsplit("/", 1)[-1] for one in items["anyOf"]}
    assert kinds == {"string", "RawPromotion"}
    assert schema["$defs"]["RawPromotion"]["additionalProperties"] is False


def test_deprecate_has_a_role_of_its_own() -> None:
    text = "version: 1\nmodels: {delay: {path: m}}\n"
    assert load(text).commands["deprecate"] == "maintain"
    assert load(text + "commands: {deprecate: {permission: admin}}\n").commands["deprecate"] == "admin"
