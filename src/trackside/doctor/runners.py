"""Runners: none that outlives a job on a public repository, online, with the labels that training asks for."""

from __future__ import annotations

import re

from trackside.doctor.place import DoctorForge, Place
from trackside.doctor.settings import seen
from trackside.doctor.table import Finding, Findings, found, unseen
from trackside.forge.settings import RunnerFacts

_HOSTED = re.compile(r"(ubuntu|windows|macos)-(latest|slim|\d[\w.]*)(-\w+)*")


def check(place: Place, forge: DoctorForge) -> Findings:
    runners = seen("runners.persistent", forge.runners)
    if isinstance(runners, Finding):
        yield runners
        for name in ("runners.offline", "runners.labels"):
            yield unseen(name)
        return
    yield from _persistent(runners, public=place.facts is not None and not place.facts.private)
    offline = [one.name for one in runners if not one.online]
    if offline:
        yield found("runners.offline", "warning", f"offline: {', '.join(offline)}")
    elif runners:
        yield found("runners.offline", "ok", f"{len(runners)} runners are online")
    if place.config is not None:
        yield _labels(runners, place.config.train.runs_on)


def _persistent(runners: tuple[RunnerFacts, ...], *, public: bool) -> Findings:
    kept = [one.name for one in runners if one.ephemeral is False]
    unsaid = [one.name for one in runners if one.ephemeral is None]
    if kept and public:
        yield found(
            "runners.persistent",
            "error",
            f"{', '.join(kept)} outlives its job, and the repository is public: code of a stranger can stay on it",
        )
    elif unsaid and public:
        yield found(
            "runners.persistent", "unknown", f"the server does not say whether {', '.join(unsaid)} is ephemeral"
        )
    elif kept:
        yield found("runners.persistent", "ok", f"{', '.join(kept)} outlives its job; the repository is private")
    else:
        yield found("runners.persistent", "ok")


def _labels(runners: tuple[RunnerFacts, ...], wanted: tuple[str, ...]) -> Finding:
    asked = {label.lower() for label in wanted}
    listed = ", ".join(wanted)
    if len(wanted) == 1 and _HOSTED.fullmatch(wanted[0].lower()):
        return found("runners.labels", "ok", f"training runs on GitHub's own {listed}")
    fitting = [one for one in runners if asked <= one.labels]
    if not fitting:
        lacks = sorted(asked - {label for one in runners for label in one.labels})
        what = f"no runner has {', '.join(lacks)}" if lacks else f"no runner has all of {listed}"
        return found("runners.labels", "warning", f"{what}: training would wait for ever")
    if not any(one.online for one in fitting):
        return found("runners.labels", "warning", f"no runner with {listed} is online: training waits")
    return found("runners.labels", "ok", f"{', '.join(one.name for one in fitting)} can train")
