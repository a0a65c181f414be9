"""What is set on GitHub: the token, Actions, pull requests by Actions, forks, the environment, the branch's rules."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TypeVar

from trackside.doctor.place import DoctorForge, Place
from trackside.doctor.table import Finding, Findings, found, unseen
from trackside.errors import Forbidden, ForgeError, NotFound
from trackside.forge.settings import EnvironmentFacts
from trackside.report.marker import check_name

T = TypeVar("T")
ENVIRONMENT, SECRET = "training", "TRACKSIDE_REMOTE_ENV"
_FORKS = {
    "all_external_contributors": "everybody from outside",
    "first_time_contributors": "first-time contributors only: after one merged change, nobody is asked",
    "first_time_contributors_new_to_github": "newcomers to GitHub only: any older account starts workflows",
}


def seen(check: str, read: Callable[[], T]) -> T | Finding:
    """What a read gives, or the finding that the token may not see it, or that GitHub did not tell."""
    try:
        return read()
    except (Forbidden, NotFound) as error:
        return unseen(check, error.why)
    except ForgeError as error:
        return found(check, "unknown", error.message, remedy=error.remedy or "run the doctor again later")


def check(place: Place, forge: DoctorForge) -> Findings:
    """Findings about settings; the token's own come from `doctor.examine`, which reads the repository first."""
    if place.facts is None:
        return
    yield from _actions(forge)
    yield from _pull_requests(place, forge)
    yield from _forks(place, forge)
    yield from _environment(place, forge)
    yield from _protection(place, forge, place.facts.default_branch)


def _actions(forge: DoctorForge) -> Findings:
    policy = seen("settings.actions", forge.actions_policy)
    if isinstance(policy, Finding):
        yield policy
    elif not policy.enabled:
        yield found("settings.actions", "error", "Actions are switched off")
    elif policy.allowed == "all":
        yield found("settings.actions", "ok", "Actions are on, all actions are allowed")
    else:
        lacks = [] if policy.github_owned else ["actions of GitHub"]
        sample = f"trackside-ml/trackside/actions/plan@{'0' * 40}"
        if not any(fnmatchcase(sample, pattern) for pattern in policy.patterns):
            lacks.append("actions of trackside-ml/trackside")
        said = f"not allowed: {', '.join(lacks)}" if lacks else "Actions are on, and those needed are allowed"
        yield found("settings.actions", "error" if lacks else "ok", said)


def _pull_requests(place: Place, forge: DoctorForge) -> Findings:
    models = place.config.models if place.config else ()
    users = [f"{one.name}: drift.retrain" for one in models if one.drift and one.drift.retrain]
    users += [f"{one.name}: image.deploy" for one in models if one.image and one.image.deploy]
    may = seen("settings.pull-requests", forge.actions_may_open_pulls)
    if isinstance(may, Finding):
        yield may
    elif may:
        yield found("settings.pull-requests", "ok")
    elif users:
        yield found("settings.pull-requests", "error", f"Actions may not open pull requests, but need to ({users[0]})")
    else:
        yield found("settings.pull-requests", "ok", "Actions may not open pull requests, and nothing here asks them to")


def _forks(place: Place, forge: DoctorForge) -> Findings:
    if place.facts is None or place.facts.private:
        yield found("settings.forks", "ok", "the repository is private: strangers cannot fork it")
        return
    policy = seen("settings.forks", forge.fork_approval)
    if isinstance(policy, Finding):
        yield policy
        return
    strict = policy == "all_external_contributors"
    yield found("settings.forks", "ok" if strict else "warning", f"approval is asked of {_FORKS.get(policy, policy)}")


def _environment(place: Place, forge: DoctorForge) -> Findings:
    held = seen("environment.training", lambda: forge.environment(ENVIRONMENT))
    if isinstance(held, Finding):
        yield held
        return
    if held is None:
        yield found(
            "environment.training",
            "error",
            f"there is no environment {ENVIRONMENT}: a run makes it, open to every branch",
        )
    else:
        yield found("environment.training", "ok")
        yield _branches(held, place.facts.default_branch if place.facts else "main")
    yield _secret(place, forge, held)


def _branches(held: EnvironmentFacts, default: str) -> Finding:
    if held.branches == "all":
        return found(
            "environment.branches",
            "error",
            f"every branch may use {ENVIRONMENT}: whoever may push one can read its secrets",
        )
    if held.branches == "protected":
        return found("environment.branches", "ok", f"only protected branches may use {ENVIRONMENT}")
    if held.branches == (default,):
        return found("environment.branches", "ok", f"only {default} may use {ENVIRONMENT}")
    listed = ", ".join(held.branches) or "none"
    if not any(fnmatchcase(default, one) for one in held.branches):
        return found("environment.branches", "error", f"{default} may not use {ENVIRONMENT} (allowed: {listed})")
    return found("environment.branches", "warning", f"more than {default} may use {ENVIRONMENT}: {listed}")


def _secret(place: Place, forge: DoctorForge, held: EnvironmentFacts | None) -> Finding:
    from trackside.doctor.remote import default_url, needs_credentials

    url = default_url(place)
    if held is not None:
        names = seen("environment.secret", lambda: forge.secret_names(ENVIRONMENT))
        if isinstance(names, Finding):
            return names
        if SECRET in names:
            return found("environment.secret", "ok", f"{ENVIRONMENT} holds {SECRET}")
    everywhere = seen("environment.secret", forge.secret_names)
    if isinstance(everywhere, Finding):
        return everywhere
    if SECRET in everywhere:
        return found(
            "environment.secret",
            "error",
            f"{SECRET} is a secret of the repository: every workflow of every branch can read it",
            remedy=f"gh secret delete {SECRET}, then gh secret set {SECRET} --env {ENVIRONMENT} < remote.env",
        )
    if needs_credentials(url):
        return found(
            "environment.secret", "error", f"there is no {SECRET}, and the data remote {url} needs credentials"
        )
    return found("environment.secret", "ok", f"there is no {SECRET}; the data remote seems to need none")


def _protection(place: Place, forge: DoctorForge, branch: str) -> Findings:
    required = seen("protection.required", lambda: forge.required_checks(branch))
    if isinstance(required, Finding):
        yield required
        return
    for model in place.config.models if place.config else ():
        name = check_name(model.name)
        rows = [one for one in required if one.name == name]
        if not rows:
            yield found(
                "protection.required", "warning", f"{branch} does not require `{name}`: a failed gate can be merged"
            )
            continue
        yield found("protection.required", "ok", f"{branch} requires `{name}`")
        if all(one.app is None for one in rows):
            yield found("protection.source", "warning", f"any workflow may write `{name}`")
        else:
            yield found("protection.source", "ok", f"`{name}` counts from one app only")
