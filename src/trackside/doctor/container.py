"""The container tool that building an image needs."""

from __future__ import annotations

import shutil

from trackside.doctor.place import Place
from trackside.doctor.table import Findings, found
from trackside.errors import ToolError

TOOLS = ("docker", "podman", "buildah")
_ASKED = {"docker": ("info",), "podman": ("info",), "buildah": ("info",)}
SECONDS = 5.0


def check(place: Place) -> Findings:
    """Only where a model has `image`: whether one of the tools is here and answers."""
    models = [model.name for model in place.config.models if model.image] if place.config else []
    if not models:
        return
    said = []
    for tool in TOOLS:
        path = shutil.which(tool, path=place.env.get("PATH", ""))
        if path is None:
            continue
        try:
            done = place.processes.run([path, *_ASKED[tool]], timeout=SECONDS, check=False)
        except ToolError as error:
            said.append(f"{tool}: {error.message}")
            continue
        if done.returncode == 0:
            yield found("container.backend", "ok", f"{tool} answers")
            return
        said.append(f"{tool}: " + done.stderr.decode("utf-8", "replace").strip()[-300:])
    what = "none of docker, podman and buildah answers here" if said else "docker, podman and buildah are missing here"
    yield found("container.backend", "warning", f"{what}; the job of {models[0]} needs one", detail="\n".join(said))
