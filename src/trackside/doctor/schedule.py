"""The drift check by cron: switched on, and alive. GitHub switches schedules off after 60 days without activity."""

from __future__ import annotations

import json
from datetime import datetime

from trackside.doctor.place import DoctorForge, Place
from trackside.doctor.settings import seen
from trackside.doctor.table import Finding, Findings, Level, found
from trackside.store.drift import HEARTBEAT

WORKFLOW = "drift.yml"
WARN_DAYS, ERROR_DAYS = 45, 60


def check(place: Place, forge: DoctorForge) -> Findings:
    if place.config is None or not any(model.drift for model in place.config.models):
        return
    state = seen("schedule.enabled", lambda: forge.workflow_state(WORKFLOW))
    if isinstance(state, Finding):
        yield state
    elif state == "active":
        yield found("schedule.enabled", "ok")
    else:
        yield found("schedule.enabled", "error", f"{WORKFLOW} is {state.replace('_', ' ')}: nothing looks for drift")
    yield _beat(place, forge, place.config.data_branch)


def _beat(place: Place, forge: DoctorForge, branch: str) -> Finding:
    data = seen("schedule.heartbeat", lambda: forge.file(HEARTBEAT, branch))
    if isinstance(data, Finding):
        return data
    if data is None:
        return found("schedule.heartbeat", "warning", "no drift check of a released model is on record")
    try:
        at = datetime.fromisoformat(json.loads(data)["at"])
        days = (place.clock.now() - at).days
    except (ValueError, KeyError, TypeError):
        return found("schedule.heartbeat", "error", f"{HEARTBEAT} of {branch} cannot be read")
    level: Level = "ok" if days < WARN_DAYS else "warning" if days < ERROR_DAYS else "error"
    return found("schedule.heartbeat", level, f"the drift check ran {days} days ago")
