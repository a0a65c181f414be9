"""What follows a training run of the default branch: its release, where the dispatch asked for one."""

from __future__ import annotations

from collections.abc import Mapping

from trackside.app import Context
from trackside.documents.admission import Admission
from trackside.documents.run import Run
from trackside.errors import ForgeError
from trackside.forge.operations import DispatchWorkflow
from trackside.forge.ports import Forge

THEN = ", then release"
"""End of the title of a run that registering started. The title is all that is told: GitHub's linter takes ten inputs
of a dispatch. Whoever else writes it releases nothing but what the default branch holds.
"""

TRAINED = "trained"
"""`reason` of that dispatch: registering does not ask for another training, or the two would never end."""


def after_training(
    inputs: Mapping[str, str], admission: Admission | None, run: Run | None, *, workflow: str, branch: str
) -> DispatchWorkflow | None:
    """The dispatch of the release workflow, after a run that answers its inputs from now on: pure.

    Args:
        inputs: of the training's dispatch.
        workflow: file name of the release workflow.
        branch: the default branch.
    """
    if not inputs.get("title", "").endswith(THEN) or admission is None or run is None:
        return None
    subject = admission.subject
    if subject.kind != "commit" or subject.branch != branch or not admission.reusable or run.status != "succeeded":
        return None
    asked = {"task": "register", "model": admission.model, "commit": subject.commit, "reason": TRAINED}
    title = f"register {admission.model} {subject.commit}"
    return DispatchWorkflow(workflow=workflow, ref=branch, inputs=asked, unless_title=title)


def follow(
    context: Context, forge: Forge, inputs: Mapping[str, str], admission: Admission | None, run: Run | None
) -> None:
    """Start the release of what was trained for the default branch. Raises ForgeError where GitHub refuses."""
    workflow = context.value("release-workflow", "report")
    wanted = after_training(inputs, admission, run, workflow=workflow, branch=forge.default_branch())
    if wanted is None:
        return
    (applied,) = forge.apply([wanted])
    if applied.outcome == "failed":
        raise ForgeError(
            f"the run is published, but {workflow} could not be started",
            why=applied.error.removeprefix("error: "),
            remedy="permissions:\n  actions: write  # of the publish job; then re-run it",
            link="releases.md",
            reason_code=applied.reason_code,
        )
    context.say(f"{workflow}: {applied.outcome} {applied.url}".rstrip())
