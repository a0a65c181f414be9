"""The one table of action inputs and outputs: `action.yml` files, the command line and the docs are held to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Input:
    """An input of a composite action; code reads it as `TRACKSIDE_<NAME>` from the environment."""

    action: str
    name: str
    description: str
    default: str = ""
    required: bool = False

    @property
    def variable(self) -> str:
        return "TRACKSIDE_" + self.name.upper().replace("-", "_")


@dataclass(frozen=True, kw_only=True)
class Output:
    """An output of a composite action, taken from its step `run` unless `step` names another."""

    action: str
    name: str
    description: str
    step: str = "run"


_NEEDS = "Token for the API; needs the permissions that the workflow's job lists."
_TOKEN_DEFAULT = "${{ github.token }}"  # noqa: S105 - an expression, not a secret

INPUTS: tuple[Input, ...] = (
    Input(action="promote", name="github-token", description=_NEEDS, default=_TOKEN_DEFAULT),
    Input(action="promote", name="out", description="Folder for the result document.", default="trackside-result"),
    Input(action="command", name="github-token", description=_NEEDS, default=_TOKEN_DEFAULT),
    Input(
        action="command",
        name="plan-workflow",
        description="File name of the workflow that plans pull requests.",
        default="pull-request.yml",
    ),
    Input(
        action="command", name="train-workflow", description="File name of the training workflow.", default="train.yml"
    ),
    Input(
        action="command",
        name="release-workflow",
        description="File name of the workflow that registers, promotes, rolls back and deprecates.",
        default="release.yml",
    ),
    Input(
        action="command",
        name="drift-workflow",
        description="File name of the workflow that checks for drift and retrains.",
        default="drift.yml",
    ),
    Input(action="command", name="out", description="Folder for the result document.", default="trackside-result"),
    Input(
        action="command",
        name="dry-run",
        description="true: decide and print, write nothing to GitHub.",
        default="false",
    ),
    Input(
        action="setup",
        name="set",
        description="Requirement set to install: core, plan, train, drift, image or verify.",
        default="core",
    ),
    Input(
        action="plan",
        name="mode",
        description="plan: decide for the event; admit: check a dispatched run.",
        default="plan",
    ),
    Input(action="plan", name="github-token", description=_NEEDS, default=_TOKEN_DEFAULT),
    Input(action="plan", name="train-workflow", description="File name of the training workflow.", default="train.yml"),
    Input(
        action="plan",
        name="out",
        description="Folder for the documents that this step writes.",
        default="trackside-plan",
    ),
    Input(
        action="plan", name="dry-run", description="true: decide and print, write nothing to GitHub.", default="false"
    ),
    Input(action="train", name="phase", description="pull, reproduce, push or record.", required=True),
    Input(
        action="train", name="admission", description="Folder with what the admit step wrote.", default="trackside-plan"
    ),
    Input(action="train", name="workspace", description="Checkout of the commit to train.", default="work"),
    Input(action="train", name="out", description="Folder for the run document.", default="trackside-run"),
    Input(action="report", name="github-token", description=_NEEDS, default=_TOKEN_DEFAULT),
    Input(action="report", name="run", description="Folder with the run document.", default="trackside-run"),
    Input(
        action="report",
        name="admission",
        description="Folder with what the admit step wrote.",
        default="trackside-plan",
    ),
    Input(
        action="report", name="admission-digest", description="Digest of the admission, from the admit job's output."
    ),
    Input(
        action="report",
        name="train-result",
        description="Result of the training job (`needs.train.result`).",
        default="",
    ),
    Input(
        action="report", name="admit-result", description="Result of the admit job (`needs.admit.result`).", default=""
    ),
    Input(
        action="report",
        name="release-workflow",
        description="File name of the release workflow.",
        default="release.yml",
    ),
    Input(action="report", name="out", description="Folder for the report in all formats.", default="trackside-report"),
    Input(
        action="report", name="dry-run", description="true: render and print, write nothing to GitHub.", default="false"
    ),
    Input(action="drift", name="github-token", description=_NEEDS, default=_TOKEN_DEFAULT),
    Input(action="drift", name="model", description="Model of trackside.yaml; empty checks all that watch drift."),
    Input(
        action="drift", name="as-of", description="Day that the date placeholders mean, as 2026-01-31; empty is today."
    ),
    Input(action="drift", name="comment", description="Number of the comment that asked."),
    Input(action="drift", name="workspace", description="Checkout of the default branch.", default="work"),
    Input(
        action="drift",
        name="fail-on",
        description="What fails the job: invalid (data that cannot be judged), drift (that or drift) or never.",
        default="invalid",
    ),
    Input(action="drift", name="out", description="Folder for verdicts and reports.", default="trackside-drift"),
    Input(
        action="drift", name="dry-run", description="true: check and print, write nothing to GitHub.", default="false"
    ),
    Input(action="register", name="github-token", description=_NEEDS, default=_TOKEN_DEFAULT),
    Input(
        action="register", name="train-workflow", description="File name of the training workflow.", default="train.yml"
    ),
    Input(action="register", name="out", description="Folder for the result document.", default="trackside-register"),
    Input(action="retrain", name="github-token", description=_NEEDS, default=_TOKEN_DEFAULT),
    Input(
        action="retrain",
        name="app-token",
        description="Token of a GitHub App that opens the pull requests: their workflows then start by themselves.",
    ),
    Input(
        action="retrain",
        name="models",
        description="JSON list of the models that are due: output `propose` of actions/drift.",
    ),
    Input(
        action="retrain",
        name="plan-workflow",
        description="File name of the workflow that plans pull requests.",
        default="pull-request.yml",
    ),
    Input(action="retrain", name="out", description="Folder for the documents.", default="trackside-retrain"),
    Input(
        action="retrain",
        name="dry-run",
        description="true: decide and print, write nothing to GitHub.",
        default="false",
    ),
    Input(action="image", name="github-token", description=_NEEDS, default=_TOKEN_DEFAULT),
    Input(
        action="image",
        name="releases",
        description="JSON list of releases with model and version, as actions/register gives it.",
        required=True,
    ),
    Input(
        action="image",
        name="backend",
        description="docker, podman, buildah, none, or auto: the first of them that works.",
        default="auto",
    ),
    Input(action="image", name="registry-username", description="Who pushes to the registry."),
    Input(action="image", name="registry-password", description="Password or token of that user."),
    Input(action="image", name="deploy-token", description="App token for a deploy file in another repository."),
    Input(
        action="image",
        name="out",
        description="Folder for the documents that this step writes.",
        default="trackside-image",
    ),
    Input(action="image", name="dry-run", description="true: build and test, push and write nothing.", default="false"),
)

OUTPUTS: tuple[Output, ...] = (
    Output(action="promote", name="decision", description="done, skipped, refused or failed."),
    Output(action="promote", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(action="promote", name="version", description="The version that holds the stage, or was deprecated."),
    Output(action="promote", name="tag", description="The tag that says so."),
    Output(action="command", name="decision", description="done, skipped, refused or failed."),
    Output(action="command", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(action="command", name="run-url", description="The workflow run that was started."),
    Output(action="retrain", name="decision", description="done, skipped, refused or failed."),
    Output(action="retrain", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(action="retrain", name="pull-requests", description="JSON: number of the open pull request, by model."),
    Output(action="setup", name="python", description="Python of the environment.", step="setup"),
    Output(action="setup", name="source", description="Folder to put on PYTHONPATH.", step="setup"),
    Output(action="plan", name="decision", description="done, skipped, refused or failed."),
    Output(action="plan", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(action="plan", name="models", description="JSON list of the models that training was started for."),
    Output(action="plan", name="runs-on", description="mode admit: JSON list of runner labels."),
    Output(action="plan", name="timeout-minutes", description="mode admit: limit of the training job."),
    Output(action="plan", name="admission-digest", description="mode admit: sha256 of admission.json."),
    Output(action="train", name="decision", description="done, skipped, refused or failed."),
    Output(action="train", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(action="train", name="executed", description="Number of stages that were executed."),
    Output(action="report", name="decision", description="done, skipped, refused or failed."),
    Output(action="report", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(action="report", name="gate", description="passed, failed or neutral."),
    Output(action="report", name="comment-url", description="The report's comment."),
    Output(action="report", name="check-url", description="The check run."),
    Output(action="drift", name="decision", description="done, skipped, refused or failed."),
    Output(action="drift", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(action="drift", name="verdict", description="JSON object: verdict by model."),
    Output(action="drift", name="propose", description="JSON list of models whose drift has held long enough."),
    Output(action="drift", name="as-of", description="The day that was checked."),
    Output(action="register", name="decision", description="done, skipped, refused or failed."),
    Output(action="register", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(
        action="register",
        name="released",
        description="JSON list of model, version and tag: the versions of this commit.",
    ),
    Output(action="register", name="dispatched", description="JSON list of models whose training was started first."),
    Output(action="register", name="commit", description="The commit that was registered."),
    Output(action="image", name="decision", description="done, skipped, refused or failed."),
    Output(action="image", name="reason-code", description="Why; see docs/reason-codes.md."),
    Output(
        action="image", name="images", description="JSON list with model, version, digest and reference of each image."
    ),
)


def inputs_of(action: str) -> tuple[Input, ...]:
    return tuple(row for row in INPUTS if row.action == action)


def outputs_of(action: str) -> tuple[Output, ...]:
    return tuple(row for row in OUTPUTS if row.action == action)
