"""A comment's text → Command, Reply or Ignore. Pure: nothing is evaluated, looked up or run."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trackside.command.table import NAMES, row
from trackside.config.model import Config
from trackside.errors import ConfigError
from trackside.plan.overrides import by_file
from trackside.plan.words import code
from trackside.registry.versions import BUMPS
from trackside.registry.versions import parse as parse_version

MAX_LINE = 1000
"""Characters of a command; nobody types more, and nothing longer is looked into."""
MAX_SNOOZE_DAYS = 365
_WORD = re.compile(r"/([A-Za-z][A-Za-z-]{1,20})(?:[ \t]|$)")
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")
_TOKEN = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
_SHA = re.compile(r"[0-9a-f]{7,64}")
_SPAN = re.compile(r"([1-9][0-9]{0,3})([dh])")


@dataclass(frozen=True, kw_only=True)
class Command:
    """What was asked. Fields that a command does not have stay empty.

    `model` is empty for all models, `version` for the latest; `seconds` is how long drift is snoozed, 0 to end it;
    `reason` is free text.
    """

    name: str
    model: str = ""
    version: str = ""
    stage: str = ""
    bump: str = ""
    action: str = ""
    seconds: int = 0
    sha: str = ""
    reason: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A command that cannot be followed: Markdown for its author, foreign text in it escaped. `name` may be empty."""

    text: str
    name: str = ""
    reason_code: str = "command_invalid"


@dataclass(frozen=True, kw_only=True)
class Ignore:
    """Not for us."""

    why: str


Parsed = Command | Reply | Ignore


def first_word(body: str) -> str:
    """The command's name as it was typed, in lower case; empty where the first line is none."""
    found = _WORD.match(_first_line(body))
    return found[1].lower() if found else ""


def _first_line(body: str) -> str:
    return re.split(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", body[: MAX_LINE + 2], maxsplit=1)[0]


def parse(body: str, config: Config | None) -> Parsed:
    """What a comment asks for.

    Args:
        body: the comment as GitHub gives it, whatever it holds.
        config: policy of the default branch; without it names of models and stages cannot be checked, so that only
            `Ignore` and a Reply to a misspelt command come out.
    """
    name = first_word(body)
    if not name:
        return Ignore(why="the first line is no command")
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.7)
        if not near:
            return Ignore(why="a command of somebody else")
        return Reply(
            text=f"There is no command {code('/' + name)}. Did you mean `{row(near[0]).usage}`? `/help` lists all.",
            reason_code="command_unknown",
        )
    line = _first_line(body)
    if config is None:
        return Reply(name=name, text="The default branch has no `trackside.yaml`.", reason_code="not_configured")
    try:
        return _PARSERS[name](_Arguments(name, line, config))
    except _Wrong as wrong:
        return Reply(name=name, text=f"{wrong.text}\n\nUsage: `{row(name).usage}`", reason_code=wrong.reason)


class _Wrong(Exception):
    """Why a command cannot be followed."""

    def __init__(self, text: str, reason: str = "command_invalid") -> None:
        super().__init__(text)
        self.text, self.reason = text, reason


class _Arguments:
    """The words after the command, taken one by one."""

    def __init__(self, name: str, line: str, config: Config) -> None:
        if len(line) > MAX_LINE:
            raise _Wrong(f"The command is longer than {MAX_LINE} characters.")
        rest = line[len(name) + 1 :]
        self.config = config
        parts = rest.split(maxsplit=row(name).words) if row(name).words else [rest]
        rest, self.text = " ".join(parts[: row(name).words or 1]), " ".join(parts[row(name).words or 1 :])
        if re.search(r"[\"']", _QUOTED.sub("", rest)):
            raise _Wrong("A quotation mark is not closed.")
        self.words = [_QUOTED.sub(lambda found: found[0][1:-1], one) for one in _TOKEN.findall(rest)]

    def take(self, what: str) -> str:
        if not self.words:
            raise _Wrong(f"The {what} is missing.")
        return self.words.pop(0)

    def end(self) -> None:
        if self.words:
            raise _Wrong(f"What should {code(self.words[0])} be?")

    def model(self, word: str) -> str:
        """A model's name. Raises _Wrong with the nearest that exists."""
        return _known("model", word, [one.name for one in self.config.models], "model_unknown")

    def models(self) -> str:
        """The rest as at most one model; empty for none."""
        model = self.model(self.words.pop(0)) if self.words else ""
        self.end()
        return model

    def one_of(self, names: Sequence[str], what: str) -> str:
        """The only one of `names`, where no model was named."""
        if len(names) != 1:
            listed = ", ".join(f"`{one}`" for one in names) or "none"
            raise _Wrong(f"Which model? {what}: {listed}.", "model_unknown")
        return names[0]


def _known(what: str, word: str, names: Iterable[str], reason: str = "command_invalid") -> str:
    """`word` when it is one of `names`; raises _Wrong with what was probably meant."""
    known = list(names)
    if word in known:
        return word
    near = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.5)
    hint = f"Did you mean `{near[0]}`?" if near else "Known: " + ", ".join(f"`{one}`" for one in known[:20]) + "."
    raise _Wrong(f"{_code(word)} is no {what}. {hint}", reason)


def _code(text: str) -> str:
    return code(text[:100])


def _train(given: _Arguments) -> Command:
    model, sha, overrides = "", "", {}
    for word in given.words:
        name, equals, value = word.partition("=")
        if not equals:
            if model:
                raise _Wrong(f"What should {_code(word)} be? Parameters are written `name=value`.")
            model = given.model(word)
        elif name == "sha":
            sha = _sha(value)
        elif not name or name in overrides:
            raise _Wrong(f"{_code(word)} is given twice." if name else f"{_code(word)} has no name.")
        else:
            overrides[name] = _value(value)
    if overrides:
        try:
            by_file(overrides)
        except ConfigError as error:
            raise _Wrong(f"{_code(error.message)}", error.reason_code) from error
        model = model or given.one_of([one.name for one in given.config.models], "An experiment is about one of")
    return Command(name="train", model=model, sha=sha, overrides=overrides)


def _sha(text: str) -> str:
    if not _SHA.fullmatch(text.lower()):
        raise _Wrong(f"{_code(text)} is no commit: `sha=` takes 7 or more hexadecimal digits of the head.")
    return text.lower()


def _value(text: str) -> Any:
    """A JSON scalar or list, else the text itself."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _plain(name: str) -> Callable[[_Arguments], Command]:
    def made(given: _Arguments) -> Command:
        given.end()
        return Command(name=name)

    return made


def _report(given: _Arguments) -> Command:
    return Command(name="report", model=given.models())


def _release(given: _Arguments) -> Command:
    bump = _known("version step", given.words.pop(0), BUMPS) if given.words else "patch"
    given.end()
    return Command(name="release", bump=bump)


def _stage(given: _Arguments, model: str) -> str:
    word = given.take("stage")
    found = given.config.model(model)
    stage = _known(f"stage of `{model}`", word, found.promotion if found else (), "stage_unknown")
    given.end()
    return stage


def _version(given: _Arguments) -> tuple[str, str]:
    """A model and its version, which is empty where none is named."""
    name, at, wanted = given.take("model").partition("@")
    model = given.model(name)
    version = parse_version(wanted) if at else None
    if at and version is None:
        raise _Wrong(f"{_code(wanted)} is no version; one is written like `{model}@v1.2.0`.", "version_unknown")
    return model, str(version) if version else ""


def _promote(given: _Arguments) -> Command:
    model, version = _version(given)
    return Command(name="promote", model=model, version=version, stage=_stage(given, model))


def _deprecate(given: _Arguments) -> Command:
    model, version = _version(given)
    given.end()
    return Command(name="deprecate", model=model, version=version, reason=given.text.strip())


def _rollback(given: _Arguments) -> Command:
    model = given.model(given.take("model"))
    return Command(name="rollback", model=model, stage=_stage(given, model))


def _drift(given: _Arguments) -> Command:
    watched = [one.name for one in given.config.models if one.drift is not None]
    known = {one.name for one in given.config.models}
    action = "check"
    if given.words and given.words[0] not in known:
        action = _known("word", given.words.pop(0), ("check", "snooze"))
    seconds = _span(given.take("time to snooze, such as 30d,")) if action == "snooze" else 0
    model = given.models()
    if model and model not in watched:
        raise _Wrong(f"`{model}` watches no drift: `trackside.yaml` has no `drift` for it.", "drift_not_configured")
    if not watched:
        raise _Wrong("No model of `trackside.yaml` watches drift.", "drift_not_configured")
    return Command(name="drift", action=action, model=model, seconds=seconds)


def _span(word: str) -> int:
    """Seconds; 0 for `off`."""
    if word == "off":
        return 0
    found = _SPAN.fullmatch(word)
    seconds = int(found[1]) * (86_400 if found[2] == "d" else 3600) if found else 0
    if not 0 < seconds <= MAX_SNOOZE_DAYS * 86_400:
        raise _Wrong(
            f"{_code(word)} is no time to snooze: write `30d`, `12h` or `off`, at most {MAX_SNOOZE_DAYS} days."
        )
    return seconds


def _retrain(given: _Arguments) -> Command:
    able = [one.name for one in given.config.models if one.drift is not None and one.drift.retrain is not None]
    model = given.models() or given.one_of(able, "`drift.retrain` is set for")
    if model not in able:
        raise _Wrong(
            f"`{model}` is not retrained: `trackside.yaml` has no `drift.retrain` for it.", "drift_not_configured"
        )
    return Command(name="retrain", model=model)


_PARSERS: Mapping[str, Callable[[_Arguments], Command]] = {
    "train": _train,
    "cancel": _plain("cancel"),
    "report": _report,
    "release": _release,
    "promote": _promote,
    "rollback": _rollback,
    "deprecate": _deprecate,
    "drift": _drift,
    "retrain": _retrain,
    "help": _plain("help"),
}
