"""`trackside doctor`: runs every group of checks, prints a table or JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from trackside.app import Context
from trackside.config.model import CONFIG_FILE
from trackside.doctor import configuration, container, registry, remote, runners, schedule, settings, workflows
from trackside.doctor.place import DoctorForge, Place
from trackside.doctor.table import Finding, counts, found
from trackside.errors import ConfigError, Forbidden, ForgeError, NotFound
from trackside.forge.access import access as access_of
from trackside.forge.access import origin_of
from trackside.system.clock import Clock, SystemClock

_MARKS = {"ok": "ok", "warning": "WARN", "error": "ERROR", "unknown": "?"}


def doctor(context: Context, root: Path, *, repository: str, offline: bool, clock: Clock | None = None) -> int:
    """Examine; returns 1 when there are errors, else 0.

    Raises:
        ConfigError: there is neither a work tree with a policy nor a repository with a token.
    """
    place, first = _place(context, root.resolve(), repository, offline, clock or SystemClock())
    findings = (*first, *examine(place))
    if place.forge is not None:
        place.forge.close()
    if context.json:
        context.say(json.dumps(document(place, findings), indent=2))
    else:
        _print(context, place, findings)
    return 1 if counts(findings)["error"] else 0


def examine(place: Place) -> tuple[Finding, ...]:
    """All findings, in the order of the table."""
    made = [*configuration.check(place), *workflows.check(place)]
    if place.forge is not None and place.facts is not None:
        for group in (settings.check, runners.check, schedule.check):
            made += group(place, place.forge)
    made += registry.check(place)
    made += remote.check(place)
    made += container.check(place)
    return tuple(made)


def _place(
    context: Context, root: Path, repository: str, offline: bool, clock: Clock
) -> tuple[Place, tuple[Finding, ...]]:
    """What is looked at, and what the token's first request tells."""
    here = (root / CONFIG_FILE).is_file() or (root / ".github/workflows").is_dir() or (root / "dvc.yaml").is_file()
    base = Place(root=root, here=here, processes=context.processes, clock=clock, env=context.env, offline=offline)
    access = "--offline" if offline else access_of(context.env, repository, origin_of(root, base.processes))
    if isinstance(access, str):
        if not here:
            raise ConfigError(
                "there is nothing to look at here",
                why=f"this folder has no trackside.yaml, and GitHub is not asked: {access}",
                remedy="go to a clone, or: GITHUB_TOKEN=… trackside doctor --repository owner/name",
                link="quickstart.md",
            )
        return base, () if offline else (found("token.valid", "unknown", f"GitHub was not asked: {access}"),)
    context.commands.mask(access.token)
    forge = DoctorForge(access.repository, access.token, access.api, clock)
    return _with_forge(replace(base, token=access.token), forge, access.repository, here)


def _with_forge(base: Place, forge: DoctorForge, name: str, here: bool) -> tuple[Place, tuple[Finding, ...]]:
    try:
        facts = forge.repository_facts()
    except Forbidden as error:
        if not here:
            raise
        return base, (found("token.valid", "error", f"GitHub does not take the token: {error.why or error.message}"),)
    except NotFound:
        if not here:
            raise
        return base, (found("token.valid", "error", f"there is no {name}, or the token may not see it"),)
    except ForgeError as error:
        if not here:
            raise
        return base, (found("token.valid", "unknown", error.message, remedy=error.remedy),)
    said = [found("token.valid", "ok", f"the token sees {facts.full_name}")]
    if facts.admin:
        said.append(found("token.rights", "ok"))
    else:
        said.append(
            found("token.rights", "warning", "the token is not an administrator's: not every setting can be seen")
        )
    return replace(base, forge=forge, facts=facts), tuple(said)


def document(place: Place, findings: tuple[Finding, ...]) -> dict[str, object]:
    """The findings for tools."""
    return {
        "schema": "trackside.doctor/1",
        "repository": place.facts.full_name if place.facts else "",
        "counts": counts(findings),
        "findings": [
            {name: getattr(one, name) for name in ("check", "level", "what", "remedy", "link", "detail")}
            for one in findings
        ],
    }


def _print(context: Context, place: Place, findings: tuple[Finding, ...]) -> None:
    from trackside.report.escape import clean_block

    if place.facts is not None:
        context.say(f"{place.facts.full_name}, {'private' if place.facts.private else 'public'}")
    width = max(len(one.check) for one in findings)
    for one in findings:
        lines = [f"{_MARKS[one.level]:5}  {one.check:{width}}  {one.what}"]
        indent = " " * (width + 9)
        if one.remedy:
            lines.append(indent + "fix: " + one.remedy.replace("\n", "\n" + indent))
            lines.append(f"{indent}docs: {one.link}")
        lines += [f"{indent}{line}" for line in one.detail.splitlines()[:40]]
        context.say(clean_block("\n".join(lines)))
    total = counts(findings)
    context.say(", ".join(f"{number} {level}" for level, number in total.items()))
