"""The texts of comments and checks that the plan writes. Foreign text goes into code, which pings nobody."""

from __future__ import annotations

import json
import re
import shlex

from trackside.documents.plan import ModelPlan
from trackside.errors import ConfigError, TracksideError
from trackside.forge.model import Annotation
from trackside.plan.facts import Facts
from trackside.plan.titles import run_title
from trackside.report.marker import marker

PLAN_MARKER = "<!-- trackside:plan -->"
"""First line of the comment about what concerns no single model."""
MAX_LISTED = 30


def code(text: str) -> str:
    """Foreign text as inline code: one line, no way out of the backticks."""
    line = re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:300]
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") or not line.strip() else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def fenced(text: str) -> str:
    """Foreign text as a block of code that nothing in it can end."""
    text = re.sub(r"[^\n\t\x20-\x7e\u00a0-\ud7ff\ue000-\U0010ffff]", "\ufffd", text)[:8000]
    fence = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}text\n{text}\n{fence}"


def title(plan: ModelPlan) -> str:
    """The check's one line."""
    fixed = {
        "train": "queued for training",
        "nothing": "inputs unchanged: nothing to train",
        "fork": "waits for a maintainer's command",
        "command_only": "waits for a command",
        "label_missing": "waits for a label",
        "gpu_hours_used_up": "GPU hours of this pull request are used up",
        "merge_conflict": "the branch conflicts with its base",
        "config_invalid": "the configuration or pipeline cannot be read",
    }
    return fixed.get(plan.reason_code) or fixed.get(plan.decision) or "cannot be planned"


def summary(facts: Facts, plan: ModelPlan, error: TracksideError | None) -> str:
    """The check's text: the comment without its marker."""
    return comment(facts, plan, error).partition("\n")[2].strip()


def comment(facts: Facts, plan: ModelPlan, error: TracksideError | None) -> str:
    """The whole comment for a decision other than `reuse`."""
    experiment = facts.request.experiment
    what = f"`{plan.model}`" + (", an experiment" if experiment else "")
    parts = [marker(plan.model, experiment=experiment), f"### Trackside: {what} – {title(plan)}"]
    parts += _middle(facts, plan, error)
    if experiment:
        set_to = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in plan.overrides.items()]
        parts.append(_listed(f"Parameters set by a comment of {facts.request.author}", set_to))
    if plan.changed and plan.decision in ("train", "refused"):
        parts.append(_listed("What changed against the base", plan.changed))
    if facts.policy_changes:
        parts.append(
            _listed(
                "This pull request edits the policy in `trackside.yaml`; that has no effect before it is merged",
                list(facts.policy_changes),
            )
        )
    return "\n\n".join(parts) + "\n"


def _middle(facts: Facts, plan: ModelPlan, error: TracksideError | None) -> list[str]:
    subject = facts.subject
    if plan.decision == "train":
        labels = ", ".join(code(label) for label in facts.config.train.runs_on)
        base = f" merged with base `{subject.base_commit[:12]}`" if subject.base_commit else ""
        return [
            f"Training of `{subject.head_commit[:12]}`{base} is queued for a runner with the labels {labels}: "
            f"[training runs]({facts.runs_url}). The report will replace this text."
        ]
    if plan.decision == "nothing":
        return [f"{plan.reason} Nothing was executed."]
    if plan.decision == "refused":
        return [plan.reason, _how(facts, plan)]
    return [fenced(error.render() if error is not None else plan.reason), _fix(plan)]


def _how(facts: Facts, plan: ModelPlan) -> str:
    """What a person can do to start it."""
    role = facts.config.commands.get("train", "write")
    if plan.reason_code == "label_missing":
        return f"Add the label {code(facts.config.train.label)} to start it."
    if plan.reason_code == "gpu_hours_used_up":
        return "Raise `train.gpu-hours-per-pull` on the default branch to go on."
    review = " after reading the changes: training runs this code" if plan.reason_code == "fork" else ""
    return (
        f"Someone with the role `{role}` can start it{review}, for exactly this commit:\n\n"
        f"```sh\n{by_hand(facts, plan)}\n```\n\n"
        f"Where comments are commands, `/train {plan.model} sha={facts.subject.head_commit}` does the same."
    )


def by_hand(facts: Facts, plan: ModelPlan) -> str:
    """The command line of GitHub's own client that dispatches this training; nothing in it can end its quotes."""
    subject = facts.subject
    inputs = {
        "model": plan.model,
        "title": run_title(plan.model, pull=subject.pull_request, head=subject.head_commit, digest=plan.input_digest),
        "commit": subject.commit,
        "base-commit": subject.base_commit,
        "head-commit": subject.head_commit,
        "head-repository": subject.head_repository,
        "pull-request": str(subject.pull_request or ""),
    }
    words = ["gh", "workflow", "run", facts.train_workflow, "--ref", facts.default_branch]
    fields = [f"-f {shlex.quote(f'{name}={text}')}" for name, text in inputs.items() if text]
    return " \\\n  ".join([shlex.join(words), *fields])


def _fix(plan: ModelPlan) -> str:
    if plan.reason_code == "merge_conflict":
        return "Merge or rebase onto the base branch and push: what is trained is the merge result."
    return "Push a correction; nothing was started."


def _listed(heading: str, items: list[str]) -> str:
    rows = [f"- {code(item)}" for item in items[:MAX_LISTED]]
    if len(items) > MAX_LISTED:
        rows.append(f"- and {len(items) - MAX_LISTED} more")
    return f"{heading}:\n\n" + "\n".join(rows)


def notes(error: TracksideError) -> tuple[Annotation, ...]:
    """The line that an error names, so that it shows beside the file."""
    if not isinstance(error, ConfigError) or not error.file or not error.line:
        return ()
    return (Annotation(path=error.file, line=error.line, level="failure", title="Trackside", message=error.message),)


def linked(body: str, url: str) -> str:
    """The words of a queued run with its own address, once that is known."""
    return re.sub(r"\[training runs\]\([^()\s]*\)", f"[training run]({url})", body, count=1)


def not_started(mark: str, model: str, error: TracksideError) -> str:
    """The comment when the training workflow could not be dispatched."""
    return (
        f"{mark}\n\n### Trackside: `{model}` – training could not be started\n\n{fenced(error.message)}\n\n"
        "Re-run the workflow once this is corrected.\n"
    )


def unreadable(error: TracksideError, where: str) -> str:
    """The comment when the policy itself cannot be read."""
    return (
        f"{PLAN_MARKER}\n\n### Trackside cannot read `trackside.yaml` of {code(where)}\n\n{fenced(error.render())}\n\n"
        "Correct it on the default branch, then re-run this workflow.\n"
    )


def readable() -> str:
    """What replaces that comment later."""
    return f"{PLAN_MARKER}\n\nTrackside can read `trackside.yaml` of the default branch again.\n"
