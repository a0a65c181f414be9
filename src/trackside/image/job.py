"""`actions/image`: for each release of this push, build, test and push an image, then tell of it."""

from __future__ import annotations

import base64
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.app import Context
from trackside.config.load import load as load_config
from trackside.config.model import CONFIG_FILE, Config, ImagePolicy, Model
from trackside.documents.release import Release
from trackside.documents.result import Result
from trackside.errors import ConfigError, DataError, ToolError, TracksideError
from trackside.image import backends, publish
from trackside.image.build import BuildJob, build
from trackside.plan.objects import fetch, git_env
from trackside.registry import read
from trackside.system.clock import SystemClock
from trackside.system.oci import Registry
from trackside.system.process import Processes

if TYPE_CHECKING:
    from trackside.forge.github import GithubForge
    from trackside.forge.operations import Applied


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What all models of a job share."""

    context: Context
    forge: GithubForge
    config: Config
    processes: Processes
    backend: backends.Backend | None
    work: Path
    cache: Path
    out: Path
    login: tuple[str, str]
    dry_run: bool


def stage_image(context: Context) -> Result:
    """Build the images of the releases in the input `releases` (JSON list of `{model, version}`)."""
    from trackside.stages import forge_of, tell

    forge = forge_of(context, "image")
    releases = _releases(context.value("releases", "image"))
    text = forge.file(CONFIG_FILE, forge.default_branch())
    if text is None:
        raise ConfigError(f"the default branch has no {CONFIG_FILE}", reason_code="not_configured")
    config = load_config(text.decode("utf-8", "replace"))
    login = (context.value("registry-username", "image"), context.value("registry-password", "image"))
    if login[1]:
        context.commands.mask(login[1])
    out = Path(context.value("out", "image"))
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    applied: list[Applied] = []
    errors: list[TracksideError] = []
    with tempfile.TemporaryDirectory(prefix="trackside-image-") as folder:
        work = Path(folder)
        backend, missing = backends.find(
            context.value("backend", "image"), context.processes, _sign_in(context, work, config, login)
        )
        for one in missing:
            context.say(f"{one.name}: {one.why}")
        if backend is None and context.value("backend", "image") not in ("auto", "none"):
            raise ToolError(
                f"{missing[0].name} does not work on this runner",
                why=missing[0].why,
                remedy="install it and let the runner's user use it, or set `backend: auto`",
                link="image.md",
                reason_code="backend_missing",
            )
        place = _Place(
            context=context,
            forge=forge,
            config=config,
            processes=context.processes,
            backend=backend,
            work=work,
            cache=Path(context.need("RUNNER_TOOL_CACHE")) / "trackside-service",
            out=out,
            login=login,
            dry_run=context.flag("dry-run", "image"),
        )
        for index, (name, version) in enumerate(releases):
            model = config.model(name)
            if model is None or model.image is None:
                context.say(f"{name}: {CONFIG_FILE} asks for no image")
                continue
            try:
                row, done = _one(place, model, model.image, version, work / str(index))
            except TracksideError as error:  # the other models have their turn all the same
                errors.append(error)
                context.commands.annotate("error", error.message, title=f"image {name}")
                continue
            rows.append(row)
            applied += done
    if errors:
        tell(context, applied)
        raise errors[0]
    return _result(context, forge, rows, applied)


def _one(
    place: _Place, model: Model, policy: ImagePolicy, version: str, work: Path
) -> tuple[dict[str, Any], list[Applied]]:
    """One release: what came of it, and what was written."""
    forge, branch = place.forge, place.config.data_branch
    release = read.need(forge, model.name, version, branch=branch)
    (work / "release").mkdir(parents=True)
    checkout = _at_commit(place, release, work / "checkout")
    job = BuildJob(
        model=model,
        policy=policy,
        release=release,
        repository=f"{place.context.need('GITHUB_SERVER_URL')}/{forge.repository}",
        checkout=checkout,
        golden=_golden(place, policy, release, checkout, work / "release"),
        model_file=read.fetch_model(forge, release, work / "release"),
        backend=place.backend,
        registry=_registry(place, policy.registry) if policy.registry and not place.dry_run else None,
        previous=publish.last_before(forge, branch, model.name, release.version),
        work=work,
        cache=place.cache,
        processes=place.processes,
        clock=SystemClock(),
        say=place.context.say,
    )
    built = build(job, publish.recorded(forge, branch, model.name, release.version))
    if place.backend is None:
        place.context.commands.annotate(
            "warning",
            "no container backend works on this runner: the Bento was served and tested without a container",
            title=f"{release.tag}: no image",
        )
    folder = place.out / model.name
    folder.mkdir(exist_ok=True)
    operations = publish.operations(built, release, forge, branch, folder)
    applied: list[Applied] = []
    for operation in operations:  # the record comes after what it vouches for: nothing follows a failure
        if publish.failed(applied) is None:
            applied += forge.apply([operation], dry_run=place.dry_run)
    if policy.deploy is not None and built.image.digest and publish.failed(applied) is None:
        from trackside.deploy.job import propose

        if publish.overtaken(forge, branch, model.name, release.version):
            place.context.say(f"{release.tag}: a newer version has an image, and is what is proposed to be deployed")
        else:
            applied += propose(place.context, forge, model, built.image)
    row = {
        "model": model.name,
        "version": release.version,
        "digest": built.image.digest,
        "reference": built.image.reference,
        "pushed": built.pushed,
        "container": built.image.container,
    }
    place.context.commands.summary(f"{release.tag}: {publish.sentence(built.image)}\n")
    return row, applied


def _releases(text: str) -> list[tuple[str, str]]:
    try:
        return [(str(row["model"]), str(row["version"])) for row in json.loads(text or "[]")]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "input `releases` is no JSON list of objects with model and version",
            why=str(error),
            remedy="with:\n  releases: ${{ needs.register.outputs.released }}",
            link="actions.md",
        ) from error


def _at_commit(place: _Place, release: Release, folder: Path) -> Path:
    """Files of the release's own commit, whatever the job has checked out: the service is part of what is released."""
    server = place.context.need("GITHUB_SERVER_URL")
    git_dir, token = place.work / "objects.git", place.context.value("github-token", "image")
    fetch(git_dir, f"{server}/{place.forge.repository}", [release.commit], processes=place.processes, token=token)
    folder.mkdir()
    words: list[str | Path] = [
        "--git-dir",
        git_dir,
        "--work-tree",
        folder,
        "checkout",
        "--quiet",
        "--force",
        release.commit,
        "--",
        ".",
    ]
    place.processes.run(["git", *words], env=git_env(place.processes.env), cwd=folder, timeout=600)
    return folder


def _golden(place: _Place, policy: ImagePolicy, release: Release, checkout: Path, folder: Path) -> str:
    """The recorded requests: those that the run made and the release carries, else those of the repository."""
    if any(asset.role == "golden" for asset in release.assets):
        return read.fetch(place.forge, release, "golden", folder)[0].read_text()
    path = checkout / policy.golden
    if not path.is_file() or not path.resolve().is_relative_to(checkout.resolve()):
        raise DataError(
            f"{policy.golden} is neither an output of the run nor a file of the repository",
            why="the smoke test needs recorded requests and answers",
            link="image.md",
        )
    return path.read_text()


def _registry(place: _Place, repository: str) -> Registry:
    return Registry(repository, *(place.login if _may_see(place.context, repository) else ("", "")))


def _may_see(context: Context, repository: str) -> bool:
    """Whether a registry may see the credentials: GitHub's token is for GitHub's own registries alone."""
    host = repository.partition("/")[0]
    if context.value("registry-password", "image") != context.value("github-token", "image"):
        return True
    server = context.need("GITHUB_SERVER_URL").partition("://")[2]
    return host in ("ghcr.io", f"containers.{server}")


def _sign_in(context: Context, work: Path, config: Config, login: tuple[str, str]) -> Path | None:
    """A folder with the registries' credentials that only this job's calls of the backend see."""
    named = [model.image.registry for model in config.models if model.image and model.image.registry]
    hosts = {one.partition("/")[0] for one in named if _may_see(context, one)}
    if not login[1] or not hosts:
        return None
    folder = work / "login"
    folder.mkdir(mode=0o700)
    auth = base64.b64encode(":".join(login).encode()).decode()
    path = folder / "config.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"auths": {host: {"auth": auth} for host in sorted(hosts)}}))
    return folder


def _result(context: Context, forge: GithubForge, rows: list[dict[str, Any]], applied: list[Applied]) -> Result:
    from trackside.stages import tell, written

    tell(context, applied)
    code = "image_unchanged" if rows and not any(row["pushed"] for row in rows) else "image_built"
    if rows and not any(row["container"] for row in rows):
        code = "bento_served"
    return written(
        "image",
        applied,
        code if rows else "image_not_asked",
        message=", ".join(f"{row['model']} {row['version']}: {row['digest'] or 'no digest'}" for row in rows),
        values={"images": rows},
        calls=forge.calls,
        skipped=not rows,
    )
