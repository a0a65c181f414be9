"""Comments → Command, Reply or Ignore: the grammar, what it answers, and ten thousand made-up comments."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.command import table
from trackside.command.parse import MAX_LINE, Command, Ignore, Reply, first_word, parse
from trackside.config.load import load
from trackside.config.raw import RawCommands

CONFIG = load(
    """
version: 1
models:
  delay:
    path: m
    drift: {reference: a.csv, current: b.csv, retrain: {after: 2}}
  fare: {path: n, promotion: [shadow, canary, prod]}
"""
)
ONE = load("version: 1\nmodels: {delay: {path: m}}\n")
COMMENTS = 10_000


def command(name: str, **more: Any) -> Command:
    return Command(name=name, **more)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("/train", command("train")),
        ("/train delay", command("train", model="delay")),
        ("/train fare lr=0.05", command("train", model="fare", overrides={"lr": 0.05})),
        ("/train delay sha=1A2B3C4", command("train", model="delay", sha="1a2b3c4")),
        ("/TRAIN delay", command("train", model="delay")),
        ("/train\tdelay", command("train", model="delay")),
        ("/train\r\nsecond line delay", command("train")),
        (
            "/train delay a.b=1 c=true d=[1,2] e='two words' f=null conf/x.yaml:g=x",
            command(
                "train",
                model="delay",
                overrides={"a.b": 1, "c": True, "d": [1, 2], "e": "two words", "f": None, "conf/x.yaml:g": "x"},
            ),
        ),
        ("/train delay lr=1e400", Reply),
        ("/train delay lr=NaN", command("train", model="delay", overrides={"lr": "NaN"})),
        ("/train delay x=$(id)", command("train", model="delay", overrides={"x": "$(id)"})),
        ("/train delay x={}", Reply),
        ("/train delay =3", Reply),
        ("/train delay lr=1 lr=2", Reply),
        ("/train delay fare", Reply),
        ("/train --lr 3", Reply),
        ("/train delay 'open", Reply),
        ("/train delay sha=12345", Reply),
        ("/train delay sha=ghijklm", Reply),
        ("/train " + "x" * 1001, Reply),
        ("/cancel", command("cancel")),
        ("/cancel now", Reply),
        ("/report fare", command("report", model="fare")),
        ("/release", command("release", bump="patch")),
        ("/release minor", command("release", bump="minor")),
        ("/release huge", Reply),
        ("/promote delay staging", command("promote", model="delay", stage="staging")),
        ("/promote fare@v1.2.0 canary", command("promote", model="fare", version="1.2.0", stage="canary")),
        ("/promote delay@1.2.0-rc.1 prod", command("promote", model="delay", version="1.2.0-rc.1", stage="prod")),
        ("/promote delay@latest prod", Reply),
        ("/promote delay@ prod", Reply),
        ("/promote delay", Reply),
        ("/promote", Reply),
        ("/promote delay canary", Reply),
        ("/promote delay prod please", Reply),
        ("/rollback fare shadow", command("rollback", model="fare", stage="shadow")),
        ("/rollback fare@v1.0.0 shadow", Reply),
        ("/deprecate delay", command("deprecate", model="delay")),
        ("/deprecate delay@v1.2.0", command("deprecate", model="delay", version="1.2.0")),
        ("/deprecate delay@1.2.0 don't", command("deprecate", model="delay", version="1.2.0", reason="don't")),
        ('/deprecate fare  a "b`  c\nd', command("deprecate", model="fare", reason='a "b`  c')),
        ("/deprecate", Reply),
        ("/deprecate dely", Reply),
        ("/deprecate delay@", Reply),
        ("/deprecate delay@latest", Reply),
        ("/deprecate 'delay x' y", Reply),
        ("/drift", command("drift", action="check")),
        ("/drift check delay", command("drift", action="check", model="delay")),
        ("/drift delay", command("drift", action="check", model="delay")),
        ("/drift check fare", Reply),
        ("/drift snooze 30d", command("drift", action="snooze", seconds=30 * 86400)),
        ("/drift snooze 12h delay", command("drift", action="snooze", seconds=12 * 3600, model="delay")),
        ("/drift snooze off", command("drift", action="snooze", seconds=0)),
        ("/drift snooze", Reply),
        ("/drift snooze 366d", Reply),
        ("/drift snooze 0d", Reply),
        ("/drift snooze -3d", Reply),
        ("/retrain", command("retrain", model="delay")),
        ("/retrain fare", Reply),
        ("/help", command("help")),
        ("/trian", Reply),
        ("/lgtm", Ignore),
        ("/usr/bin/env", Ignore),
        ("/etc", Ignore),
        ("/", Ignore),
        ("", Ignore),
        (" /train", Ignore),
        ("\n/train", Ignore),
        ("> /train", Ignore),
        ("```\n/train\n```", Ignore),
        ("    /train", Ignore),
        ("`/train`", Ignore),
        ("<!-- /train -->", Ignore),
        ("please /train", Ignore),
        ("/train@bot", Ignore),
        ("/train;id", Ignore),
        ("//train", Ignore),
        ("\ufeff/train", Ignore),
    ],
)
def test_what_a_comment_asks_for(body: str, wanted: Command | type) -> None:
    found = parse(body, CONFIG)
    if isinstance(wanted, type):
        assert isinstance(found, wanted), found
    else:
        assert found == wanted


def test_what_was_probably_meant_is_said() -> None:
    for body, hint, code in (
        ("/trian", "/train", "command_unknown"),
        ("/train dely", "`delay`", "model_unknown"),
        ("/promote delay stagin", "`staging`", "stage_unknown"),
        ("/promote frae prod", "`fare`", "model_unknown"),
        ("/release mino", "`minor`", "command_invalid"),
        ("/drift snoze 3d", "`snooze`", "command_invalid"),
    ):
        found = parse(body, CONFIG)
        assert isinstance(found, Reply)
        assert f"Did you mean {hint}" in found.text or f"Did you mean `{hint}" in found.text, found.text
        assert found.reason_code == code


def test_an_experiment_needs_one_model() -> None:
    several = parse("/train lr=1", CONFIG)
    assert isinstance(several, Reply)
    assert "`delay`, `fare`" in several.text
    assert parse("/train lr=1", ONE) == command("train", model="delay", overrides={"lr": 1})


def test_foreign_text_of_a_reply_stays_code() -> None:
    """Nothing that somebody types pings, links or ends its code span in our answer."""
    for word in ("@acme/team", "#1", "``@acme``", "`@acme`", "<img/src=x>", "https://evil.example", "[a](b)", "a|b"):
        for line in (f"/train {word}", f"/promote {word} prod", f"/promote delay {word}", f"/cancel {word}"):
            found = parse(line, CONFIG)
            assert isinstance(found, Reply), line
            outside = _outside_code(found.text)
            assert not any(part in outside for part in ("@", "#", "<img", "evil", "](", "|b")), found.text


def _outside_code(text: str) -> str:
    """Markdown less its code spans, by CommonMark's rule: a span ends at the next run of as many backticks."""
    import re

    made, rest = "", text
    while found := re.search(r"(?<!`)(`+)(?!`)", rest):
        end = re.search(rf"(?<!`){found[1]}(?!`)", rest[found.end() :])
        if end is None:
            return made + rest
        made, rest = made + rest[: found.start()], rest[found.end() + end.end() :]
    return made + rest


PIECES = [
    *(f"/{name}" for name in table.NAMES), "/trian", "/lgtm", "/promot", "delay", "fare", "dely", "staging", "prod",
    "@v1.0.0", "delay@v1.0.0", "sha=", "sha=1234567", "lr=0.1", "a.b=[1,2]", "x={\"a\":1}", "check", "snooze", "30d",
    "off", "major", "'", '"', "`", "``", "$(touch MARK)", "`touch MARK`", "; touch MARK", "| touch MARK",
    "&& touch MARK", "${{ secrets.X }}", "__import__('os').system('touch MARK')", "{{7*7}}", "%s%n", "\x00", "\n",
    "\r\n", "\u2028", "\u202e", "\ufeff", "\ud800", " ", "  ", "\t", "\x0b", "=", "==", "-", "--", "@", "#1", "é",
    "漢字", "🚀", "x" * 1200, "[" * 400, "1e999", "NaN", "-0", "> ", "```", "<!--",
]  # fmt: skip


def fuzzed(random_: random.Random) -> str:
    start = random_.choice([*(f"/{name}" for name in table.NAMES), "", random_.choice(PIECES)])
    words = [random_.choice(PIECES) for _ in range(random_.randrange(8))]
    if random_.random() < 0.3:  # a good one, with a little around it
        start, words = random_.choice(table.COMMANDS).example, words[:1]
    text = random_.choice(["", " "]).join([start, *words])
    if random_.random() < 0.2:  # any character anywhere
        at = random_.randrange(len(text) + 1)
        text = text[:at] + chr(random_.choice([random_.randrange(32), random_.randrange(0x110000)])) + text[at:]
    return text


def test_ten_thousand_made_up_comments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No exception, nothing evaluated or run, and nothing but the three kinds of answer."""
    monkeypatch.chdir(tmp_path)
    events: list[str] = []
    armed = [True]

    def watch(name: str, _: tuple[object, ...]) -> None:
        if armed[0] and name in (
            "subprocess.Popen",
            "os.system",
            "os.exec",
            "os.posix_spawn",
            "compile",
            "exec",
            "open",
        ):
            events.append(name)

    parse("/train 'a' lr=1", CONFIG)  # what is compiled and cached at first use
    sys.addaudithook(watch)
    kinds: Counter[str] = Counter()
    names: Counter[str] = Counter()
    random_ = random.Random(20261121)
    try:
        for _ in range(COMMENTS):
            body = fuzzed(random_)
            found = parse(body, random_.choice([CONFIG, ONE, None]))
            kinds[type(found).__name__] += 1
            assert isinstance(found, Command | Reply | Ignore), body
            if isinstance(found, Command):
                names[found.name] += 1
                assert_plain(found, body)
            elif isinstance(found, Reply):
                assert len(found.text) < 4000
    finally:
        armed[0] = False
    print(f"{COMMENTS} comments: {dict(kinds)}, commands {dict(names)}")
    assert sum(kinds.values()) == COMMENTS
    assert min(kinds.values()) > 500, kinds
    assert set(names) == set(table.NAMES), "every command was reached"
    assert not events, Counter(events)
    assert list(tmp_path.iterdir()) == []


def assert_plain(found: Command, body: str) -> None:
    """Names are those of the policy, digits are digits: nothing of the comment's own but parameters gets through."""
    assert body.startswith("/")
    assert len(body.splitlines()[0]) <= MAX_LINE or "\n" in body
    assert found.model in ("", "delay", "fare")
    assert found.stage in ("", "staging", "prod", "shadow", "canary")
    assert found.bump in ("", "major", "minor", "patch")
    assert found.action in ("", "check", "snooze")
    assert set(found.sha) <= set("0123456789abcdef")
    assert set(found.version) <= set("0123456789.-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    json.dumps(dict(found.overrides), allow_nan=False)


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_after_any_command(text: str) -> None:
    for name in table.NAMES:
        found = parse(f"/{name} {text}", CONFIG)
        assert isinstance(found, Command | Reply)
    assert isinstance(parse(text, CONFIG), Command | Reply | Ignore)
    assert first_word(text) == "" or text.startswith("/")


def test_the_table_is_the_policy() -> None:
    """Least roles of the table and of the configuration's defaults are one; every example works."""
    raw = RawCommands()
    assert {row.name: row.permission for row in table.COMMANDS} == {
        name: getattr(raw, name).permission for name in raw.__struct_fields__
    }
    for row in table.COMMANDS:
        found = parse(row.example, CONFIG)
        assert isinstance(found, Command), found
        assert found.name == row.name
        assert row.usage in table.help_text(CONFIG.commands).replace("\\|", "|")
        assert row.usage in table.page().replace("\\|", "|")
    assert {one.name for one in fields(Command)} >= {"model", "sha", "overrides"}


def test_help_tells_the_policys_roles() -> None:
    config = load("version: 1\nmodels: {delay: {path: m}}\ncommands: {promote: {permission: admin}}\n")
    (line,) = [one for one in table.help_text(config.commands).splitlines() if "/promote" in one]
    assert "| admin |" in line
