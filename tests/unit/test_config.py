"""`trackside.yaml`: what is accepted, and where each mistake is reported."""

from __future__ import annotations

import contextlib
import json

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.config.load import MAX_CHARACTERS, load
from trackside.config.model import Position
from trackside.config.raw import json_schema
from trackside.errors import ConfigError

VALID = """\
version: 1
models:
  delay:
    path: models/delay.skops
    stages: [prepare, train]
    metrics:
      roc_auc: {file: metrics.json, direction: max, min: 0.70, tolerance: 0.005}
    predictions: {file: eval/predictions.parquet, slices: [carrier]}
train:
  on: pull_request
  runs-on: [self-hosted, gpu]
  gpu-hour-price: {amount: 2.5, currency: USD}
"""


def test_a_valid_file_becomes_policy() -> None:
    config = load(VALID)
    model = config.model("delay")
    assert model is not None
    assert model.metrics[0].minimum == 0.7
    assert model.predictions is not None
    assert model.predictions.slices == ("carrier",)
    assert config.train.runs_on == ("self-hosted", "gpu")
    assert config.positions["models.delay.metrics.roc_auc.min"] == Position(line=7, column=53)
    assert config.model("other") is None


# (text to replace, replacement, line, column, words of the message or remedy)
MISTAKES = [
    ("direction: max", "direction: up", 7, 37, "'up'"),
    ("min: 0.70", "mni: 0.70", 7, 53, "did you mean 'min'?"),
    ("version: 1", "version: 2", 1, 1, "2"),
    ("version: 1\n", "", 1, 1, "lacks the key 'version'"),
    ("[self-hosted, gpu]", "[]", 11, 3, "names no label"),
    ("path: models/", "path: /models/", 4, 5, "path"),
    ("path: models/", "path: a/../../", 4, 5, "path"),
    ("  delay:", "  'de lay':", 3, 3, "use letters"),
    ("amount: 2.5", "amount: x", 12, 20, "float"),
    ("currency: USD", "currency: dollars", 12, 33, "currency"),
    ("  on: pull_request", "  on: pull_request\n  on: label", 11, 3, "appears twice"),
    ("stages: [prepare, train]", "stages: 3", 5, 5, "array"),
    ("tolerance: 0.005", "tolerance: -1", 7, 64, ">= 0"),
    ("min: 0.70", "max: 0.5, min: 0.70", 7, 63, "above max"),
    ("direction: max, min: 0.70", "min: 0.70", 7, 48, "needs a direction"),
    ("train:\n", "trian:\n", 9, 1, "did you mean 'train'?"),
    ("  on: pull_request", "  pass-env: [AWS_SECRET_ACCESS_KEY]", 10, 14, "may not be passed"),
    ("  on: pull_request", "  timeout-minutes: 0", 10, 3, ">= 1"),
    ("models:\n", "models: {}\nmodel:\n", 3, 1, "did you mean 'models'?"),
    ("  on: pull_request", "  on: [", 12, 3, "not valid YAML"),
    ("train:\n", "commands: {promote: {}}\ntrain:\n", 9, 12, "lacks the key 'permission'"),
]


def test_every_mistake_has_its_position() -> None:
    for old, new, line, column, words in MISTAKES:
        assert old in VALID
        with pytest.raises(ConfigError) as caught:
            load(VALID.replace(old, new, 1))
        error = caught.value
        assert error.exit_code == 2
        assert (error.line, error.column) == (line, column), (new, error.render())
        assert words in error.render(), (new, error.render())
    print(f"{len(MISTAKES)} mistakes")
    assert len(MISTAKES) == 21


def test_aliases_and_size_are_bounded() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
    )
    with pytest.raises(ConfigError, match="too many entries"):
        load(bomb)
    with pytest.raises(ConfigError, match="characters"):
        load("#" * (MAX_CHARACTERS + 1))


def _yaml12(text: str) -> object:
    """What an editor sees: in YAML 1.2 the key `on` is text, PyYAML's 1.1 makes it True."""
    data = yaml.safe_load(text)
    if isinstance(data, dict) and isinstance(data.get("train"), dict) and True in data["train"]:
        data["train"]["on"] = data["train"].pop(True)
    return data


def test_the_schema_agrees_with_the_loader() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(_yaml12(VALID))
    said = 0
    for old, new, *_ in MISTAKES:
        try:
            data = _yaml12(VALID.replace(old, new, 1))
        except yaml.YAMLError:
            continue
        said += not validator.is_valid(data)
    # Beyond a schema: duplicate keys, min above max, tolerance without direction, an empty label list, secret names.
    assert said == 15
    json.dumps(json_schema())


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["version", "models", "train", "delay", "path", "metrics", "x"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_no_input_raises_anything_but_a_config_error(data: object) -> None:
    with contextlib.suppress(ConfigError):
        load(yaml.safe_dump(data))


def test_parameters_of_retraining_may_be_text_numbers_and_switches() -> None:
    text = """\
version: 1
models:
  delay:
    path: m
    drift:
      reference: a.csv
      current: b.csv
      retrain: {params: {until: "{date}", rate: 0.5, months: 3, deep: true}}
"""
    (model,) = load(text).models
    assert model.drift is not None
    assert model.drift.retrain is not None
    assert dict(model.drift.retrain.params) == {"until": "{date}", "rate": 0.5, "months": 3, "deep": True}
    with pytest.raises(ConfigError, match="params"):
        load(text.replace("rate: 0.5", "rate: [1]"))
