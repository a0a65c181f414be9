"""The one table of comment commands: `/help`, docs/commands.md and the parser are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trackside.forge.model import Role

MAX_AGE_HOURS = 24
"""A comment speaks for so long: later jobs refuse an older one, so that it cannot be passed on again."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One command.

    `where` says whether it needs a pull request; `permission` is the least role unless `trackside.yaml` names another;
    `grammar` explains the arguments; `example` is a line that works. After `words` arguments (0: never) the rest of the
    line is free text.
    """

    name: str
    arguments: str
    does: str
    grammar: str
    example: str
    permission: Role
    where: Literal["pull request", "anywhere"]
    words: int = 0

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


COMMANDS: tuple[Row, ...] = (
    Row(
        name="train",
        arguments="[model] [name=value …] [sha=…]",
        does="Trains this pull request. With parameters it is an experiment: reported beside the report, deciding "
        "nothing. Without, it is the ordinary run, whose result decides the check.",
        grammar="`model`: of `trackside.yaml`; default: all, with parameters the only one. `name=value`: a parameter "
        "of `params.yaml` (`file:name` of another file); the value is a number, true, false, text or a list such as "
        "`[1,2]`, of the type that the file has. `sha`: 7 or more digits of the head, needed for forks and where "
        "the last push is not older than the comment.",
        example="/train delay train.lr=0.05 sha=1a2b3c4",
        permission="write",
        where="pull request",
    ),
    Row(
        name="cancel",
        arguments="",
        does="Stops the runs of this pull request that have not ended.",
        grammar="Takes no arguments.",
        example="/cancel",
        permission="write",
        where="pull request",
    ),
    Row(
        name="report",
        arguments="[model]",
        does="Publishes the report of the recorded run again, against today's base. Trains nothing.",
        grammar="`model`: of `trackside.yaml`; default: all.",
        example="/report",
        permission="triage",
        where="pull request",
    ),
    Row(
        name="release",
        arguments="[major|minor|patch]",
        does="On an open pull request: sets the label that says how the version grows at the merge. On a merged one: "
        "registers what it changed, with that version step.",
        grammar="The step; default: patch.",
        example="/release minor",
        permission="maintain",
        where="pull request",
    ),
    Row(
        name="promote",
        arguments="<model[@version]> <stage>",
        does="Gives a stage to a version, as a tag, where the version has what the [policy](promotion.md) of the stage "
        "asks for.",
        grammar="`version`: default: the latest. `stage`: of the model's `promotion`.",
        example="/promote delay@v1.1.0 staging",
        permission="maintain",
        where="anywhere",
    ),
    Row(
        name="rollback",
        arguments="<model> <stage>",
        does="Gives a stage back to the version that held it before. Builds nothing.",
        grammar="`model` and `stage`: of `trackside.yaml`. Said again, it goes one version further back.",
        example="/rollback delay prod",
        permission="maintain",
        where="anywhere",
    ),
    Row(
        name="deprecate",
        arguments="<model[@version]> [reason]",
        does="Takes a version that holds no stage out of use, or says that a whole model is not to be used any more. "
        "Deletes nothing.",
        grammar="`version`: without one, the model as a whole. `reason`: the rest of the line, kept in the tag.",
        example="/deprecate delay@v1.1.0 trained on data of the wrong year",
        permission="maintain",
        where="anywhere",
        words=1,
    ),
    Row(
        name="drift",
        arguments="[check|snooze <30d|12h|off>] [model]",
        does="Checks for drift now; or keeps retraining pull requests away for a while.",
        grammar="`check` (the default) or `snooze` with days or hours, at most 365 days; `off` ends it. `model`: "
        "default: all that watch drift.",
        example="/drift snooze 30d delay",
        permission="write",
        where="anywhere",
    ),
    Row(
        name="retrain",
        arguments="[model]",
        does="Opens or refreshes the retraining pull request, without waiting for drift.",
        grammar="`model`: default: the only one with `drift.retrain`.",
        example="/retrain delay",
        permission="write",
        where="anywhere",
    ),
    Row(
        name="help",
        arguments="",
        does="Lists the commands.",
        grammar="Takes no arguments.",
        example="/help",
        permission="read",
        where="anywhere",
    ),
)

NAMES = tuple(row.name for row in COMMANDS)


def row(name: str) -> Row:
    """The row of a command's name."""
    return next(one for one in COMMANDS if one.name == name)


def needed(name: str, permissions: Mapping[str, Role]) -> Role:
    """The least role for a command, by the policy of the default branch."""
    return permissions.get(name) or row(name).permission


def help_text(permissions: Mapping[str, Role]) -> str:
    """The answer to `/help`, as Markdown."""
    rows = "".join(
        f"| `{one.usage.replace('|', chr(92) + '|')}` | {needed(one.name, permissions)} | {one.does} |\n"
        for one in COMMANDS
    )
    return (
        "A command is the first line of a comment, and nothing stands before its `/`.\n\n"
        "| command | least role | what it does |\n| --- | --- | --- |\n" + rows
    )


def page() -> str:
    """docs/commands.md, from its first line to its table and grammar."""
    parts = [
        "# Comment commands\n\nGenerated by `make docs` from `src/trackside/command/table.py`.\n\n",
        PREFACE,
        "\n| command | where | least role | what it does |\n| --- | --- | --- | --- |\n",
        *(
            f"| `{one.usage.replace('|', chr(92) + '|')}` | {one.where} | {one.permission} | {one.does} |\n"
            for one in COMMANDS
        ),
        "\n## Arguments\n",
        *(f"\n**{one.usage}** – {one.grammar} Example: `{one.example}`\n" for one in COMMANDS),
        AFTERWORD,
    ]
    return "".join(parts)


PREFACE = """\
A command is the first line of a comment on a pull request or issue, and nothing stands before its `/`; what follows on
later lines is for people. Quotes, code blocks and edited comments are never commands, nor is what a bot writes. A word
like none of these is left to other tools; one that is nearly right is answered with what was probably meant.

`command.yml` must be on the default branch. Its job checks out nothing and runs nothing: it reads the comment as data,
asks GitHub for the role of its author, and dispatches a workflow of the default branch, which reads the comment again
by its number and checks all of it once more. It answers with a reaction: 👀 seen, 🚀 started, 😕 not; with a reply only
where there is something to say.
"""

AFTERWORD = f"""
## Who may

The least role of a command is policy: `commands` in `trackside.yaml` of the default branch.

```yaml
commands:
  train: {{permission: triage}}
  promote: {{permission: admin}}
```

The roles are read, triage, write, maintain and admin; a custom role counts as the highest of them that it includes.
What counts is the role at the time of the job, not at the time of the comment.

## Which commit

`/train` is about the code that its author saw. A commit's date is made up easily, so only what GitHub
itself noted counts:

- with `sha=`, the head must be just that commit, now, when the run is admitted and when its result is published;
- without it, the branch must be one of this repository, and GitHub's list of its pushes must show that the last
  one is older than the comment and led to the head of now; a push in the same second is not older;
- for a fork there is no such list: `sha=` is always needed, and it is the word of a person who read that very commit.

A comment that was edited is no command any more: write a new one. After {MAX_AGE_HOURS} hours a comment no longer
starts anything, not by re-running a job either.

## Stages

A stage is an annotated tag in GTO's grammar, such as `delay#prod#3`, at the commit of the version; its trailers tell
the version, who asked, in which comment, and on what evidence. What a version needs for a stage is policy: see
[promotion](promotion.md).

## The result

Every command leaves a `result` document as the artifact `trackside-result` of its workflow run, with one of the
[reason codes](reason-codes.md).
"""
