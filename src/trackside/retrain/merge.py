"""`auto-merge`: a retraining pull request whose gate passed is merged, and the release of what it brought started."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trackside.config.model import CONFIG_FILE, Config
from trackside.documents.admission import Admission
from trackside.documents.report import Gate
from trackside.forge.model import Pull
from trackside.forge.operations import Applied, DispatchWorkflow, MergePull
from trackside.plan.overrides import DEFAULT_FILE
from trackside.report.marker import check_name
from trackside.retrain.decide import branch_of

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.forge.ports import Forge
    from trackside.report.publish import Published

PASSED = ("success", "neutral", "skipped")
"""Conclusions of a check that let GitHub merge."""

PIPELINE = ("dvc.yaml", "dvc.lock", ".dvcignore")
"""Names of files that decide what a pipeline runs and reads, in whichever folder; so do `.dvc` files."""


def merges(config: Config, admission: Admission | None, gate: Gate | None) -> bool:
    """Whether the policy merges what was trained, by what is known for sure before GitHub is asked: pure.

    Only the gate of Trackside's own proposal counts: its branch, of this repository, without overridden parameters.
    """
    if admission is None or gate != "passed" or admission.experiment or not admission.reusable:
        return False
    model, subject = config.model(admission.model), admission.subject
    policy = model.drift.retrain if model is not None and model.drift is not None else None
    own = subject.head_repository == subject.repository and subject.branch == branch_of(admission.model)
    return policy is not None and policy.auto_merge and own and subject.kind == "pull_request"


def fits(pull: Pull, admission: Admission, branch: str) -> bool:
    """Whether the pull request still is the one that was judged: open (or merged by an earlier attempt), same head."""
    same = (pull.head_ref, pull.base_ref, pull.from_fork) == (branch_of(admission.model), branch, False)
    return same and pull.head_sha == admission.subject.head_commit and (pull.merged or pull.state == "open")


def unjudged(forge: Forge, config: Config, pull: Pull, admission: Admission) -> str:
    """What speaks against merging the pull request without a person; empty for nothing.

    Whoever may push to its branch could have anything merged; and other models may read what it changes.
    """
    push = forge.last_push(pull.head_ref)
    if push is None or push.after != pull.head_sha or not push.actor.endswith("[bot]"):
        return f"#{pull.number} holds what {push.actor if push else 'somebody'} pushed: a person merges it"
    stale = overtaken(forge, pull, admission)
    if stale:
        return stale
    others = {check_name(one.name) for one in config.models if one.name != admission.model}
    bad = {one.name for one in forge.checks(pull.head_sha) if one.name in others and one.conclusion not in PASSED}
    return f"#{pull.number} waits for a person: {', '.join(sorted(bad))} has not passed" if bad else ""


def overtaken(forge: Forge, pull: Pull, admission: Admission) -> str:
    """Why the merge would not be the one that was judged; empty where the model reads nothing that its base got since.

    The moment between this look and the merge remains: GitHub takes a condition on the head alone.
    """
    judged, tip = admission.subject.base_commit, forge.head_of(pull.base_ref)
    if tip == judged:
        return ""
    changed = forge.changed(judged, tip)
    if changed is None:
        what = f"{pull.base_ref} is not what it was judged on: rewritten, or too much changed"
    else:
        read = [path for path in changed if reads(admission, path)]
        if not read:
            return ""
        what = f"{pull.base_ref} changed {', '.join(read[:5])} since it was judged"
    return f"#{pull.number} waits for a person: {what[:500]}; comment /train to have it judged anew"


def reads(admission: Admission, path: str) -> bool:
    """Whether a file takes part in what was trained: policy, pipeline, parameters, or an input by its path. Pure.

    A symbolic link is its own path: what it points to is not followed.
    """
    name = posixpath.basename(path)
    if path == CONFIG_FILE or name in PIPELINE or name.endswith(".dvc") or path.startswith(".dvc/"):
        return True
    params = {one[:at] for one in admission.params for at, letter in enumerate(one) if letter == ":"}
    if admission.params:
        params.add(DEFAULT_FILE)
    inputs = {one.path for one in admission.inputs}
    folders = [path[:at] for at, letter in enumerate(path) if letter == "/"]
    return not inputs.isdisjoint([path, *folders, "."]) or path in params


def merge_passed(
    forge: Forge,
    config: Config,
    admission: Admission | None,
    gate: Gate | None,
    *,
    workflow: str,
    dry_run: bool = False,
) -> tuple[Applied, ...]:
    """Merge at exactly the judged head, then start the release: what a job's own token merges starts nothing itself.

    Args:
        workflow: file name of the release workflow.

    Raises:
        ForgeError: the pull request cannot be read.
    """
    if admission is None or not merges(config, admission, gate) or admission.subject.pull_request is None:
        return ()
    number, branch = admission.subject.pull_request, forge.default_branch()
    pull = forge.pull(number)
    if not fits(pull, admission, branch):
        return ()
    title = f"Merge the retraining of {admission.model} (#{number})"
    merge = MergePull(number=number, head_sha=admission.subject.head_commit, title=title)
    why = "" if pull.merged else unjudged(forge, config, pull, admission)
    if why:
        return (Applied(operation=merge, outcome="skipped", url=pull.url, error=why, reason_code="refused"),)
    (merged,) = forge.apply([merge], dry_run=dry_run)
    if merged.outcome not in ("updated", "unchanged"):
        return (merged,)
    asked = {"task": "register", "commit": str(merged.id)}  # like a push: parameters and data serve many models
    title = f"register  {merged.id}"  # as the workflow names it without a model
    started = forge.apply([DispatchWorkflow(workflow=workflow, ref=branch, inputs=asked, unless_title=title)])
    return (merged, *started)


def follow(
    context: Context, forge: Forge, config: Config, admission: Admission | None, published: Published
) -> Sequence[Applied]:
    """The same within the report stage. A merge that GitHub does not allow is a warning: the report stands."""
    applied = merge_passed(
        forge,
        config,
        admission,
        published.report.gate if published.report is not None else None,
        workflow=context.value("release-workflow", "report"),
        dry_run=context.flag("dry-run", "report"),
    )
    for one in applied:
        name = type(one.operation).__name__
        context.say(f"{name}: {one.outcome} {one.url}".rstrip())
        if one.error:
            context.commands.annotate("warning", one.error, title=f"auto-merge: {name}")
    return applied
