"""One pull request a model that changes the image's digest where it is deployed from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trackside.config.model import DeployTarget, Model
from trackside.deploy.edit import LINK, Target, edit
from trackside.documents.image import Image
from trackside.errors import ConfigError, TracksideError
from trackside.forge.operations import Applied, ProposeChange
from trackside.report.escape import code, inline

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.forge.github import GithubForge

BRANCH = "trackside/deploy/"
LABELS = ("trackside", "deploy")
_WAITS = (
    "Workflows do not start by themselves for a pull request of a job's own token: close and reopen it to run them."
)


def propose(context: Context, forge: GithubForge, model: Model, image: Image) -> tuple[Applied, ...]:
    """Open or update the pull request that deploys an image; nothing where the policy names no file.

    In another repository, and where its workflows should start by themselves, the token of a GitHub App is needed
    (input `deploy-token`). What goes wrong is told as a failed operation: the image itself is pushed by then.
    """
    target = model.image.deploy if model.image else None
    if target is None:
        return ()
    from trackside.forge.github import GithubForge

    token = context.value("deploy-token", "image")
    dry_run = context.flag("dry-run", "image")
    repository = target.repository or forge.repository
    page = f"{context.need('GITHUB_SERVER_URL')}/{forge.repository}"
    if not token:
        return propose_with(forge, forge.repository, model, target, image, page=page, dry_run=dry_run)
    context.commands.mask(token)
    with GithubForge(repository, token, context.need("GITHUB_API_URL")) as app:
        made = propose_with(app, forge.repository, model, target, image, page=page, app=True, dry_run=dry_run)
        forge.calls += app.calls
    return made


def propose_with(
    forge: GithubForge,
    home: str,
    model: Model,
    target: DeployTarget,
    image: Image,
    *,
    page: str,
    app: bool = False,
    dry_run: bool = False,
) -> tuple[Applied, ...]:
    """The same with the adapter that may write there.

    Args:
        home: repository of the model.
        page: its address.
        app: `forge` has the token of an App, so that the pull request's workflows start by themselves.
    """
    operation = ProposeChange(
        branch=BRANCH + model.name, base=target.branch, files={}, message="", title="", body="", labels=LABELS
    )
    try:
        if (target.repository or home).lower() != forge.repository.lower():
            raise ConfigError(
                f"deploying to {target.repository} needs a token that may write there",
                why="a job's own token reaches its own repository alone",
                remedy="with:\n  deploy-token: ${{ steps.app.outputs.token }}",
                link=LINK,
                reason_code="forbidden",
            )
        base = target.branch or forge.default_branch()
        data = forge.file(target.file, base)
        if data is None:
            raise ConfigError(
                f"{forge.repository} has no file {target.file} on {base}",
                remedy=f"models.{model.name}.image.deploy.file: deploy/kustomization.yaml",
                link=LINK,
                reason_code="deploy_invalid",
            )
        wanted = Target.of(model.name, image.reference, image.version, image.digest)
        text = _decoded(data, target.file)
        new = edit(text, wanted, file=target.file, key=target.key)
    except TracksideError as error:
        return (Applied(operation=operation, outcome="failed", error=error.render(), reason_code=error.reason_code),)
    title = f"Deploy {model.name} {image.version}"
    operation = ProposeChange(
        branch=BRANCH + model.name,
        base=base,
        files={target.file: new.encode()},
        message=f"{title}\n\nImage: {wanted.repository}@{wanted.digest}\n",
        title=title,
        body=body(model, target, image, page=page, app=app),
        labels=LABELS,
    )
    if new == text:
        return (Applied(operation=operation, outcome="skipped", reason_code="nothing_to_propose"),)
    return forge.apply([operation], dry_run=dry_run)


def _decoded(data: bytes, file: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no UTF-8 text", link=LINK, reason_code="deploy_invalid") from error


def body(model: Model, target: DeployTarget, image: Image, *, page: str, app: bool) -> str:
    """The pull request's text: what the image is, and where it comes from."""
    smoke = image.smoke
    ratio = f", {smoke.latency_ratio:.2f} × the latency of {code(smoke.compared_with)}" if smoke.latency_ratio else ""
    rows = [
        ("release", f"[{code(image.version)}]({page}/releases/tag/{_escaped(image.tag)})"),
        ("image", str(code(image.reference.partition("@")[0]))),
        ("digest", str(code(image.digest))),
        ("commit", f"[{code(image.commit[:12])}]({page}/commit/{image.commit})"),
        ("training run", str(code(image.run))),
        ("model file", str(code(image.model_digest))),
        (
            "smoke test",
            f"{smoke.passed} of {smoke.requests} recorded requests answered as recorded, {smoke.bad_refused} of "
            f"{smoke.bad_requests} bad ones refused{ratio}",
        ),
    ]
    table = "\n".join(f"| {name} | {text} |" for name, text in rows)
    starts = "" if app else "\n\n" + _WAITS
    return (
        f"### Deploy {code(model.name)} {inline(image.version)}\n\n"
        f"The image of this release is built, tested and pushed. Merging this changes its digest in "
        f"{code(target.file)}; reverting the merge brings the image before back.\n\n"
        f"| | |\n| --- | --- |\n{table}{starts}\n"
    )


def _escaped(tag: str) -> str:
    from urllib.parse import quote

    return quote(tag, safe="")
