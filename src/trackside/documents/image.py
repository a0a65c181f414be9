"""`trackside.image/1`: the container image of a released model; the release asset `image.json`."""

from __future__ import annotations

from typing import Literal

from trackside.documents.codec import Document
from trackside.documents.run import Part


class Smoke(Part, frozen=True, kw_only=True):
    """What the started image answered: recorded requests, refused bad ones, median seconds of each latency run."""

    requests: int
    passed: int
    bad_requests: int
    bad_refused: int
    latency_seconds: list[float] = []
    latency_ratio: float | None = None
    compared_with: str = ""


class Image(Document, frozen=True, kw_only=True):
    """`digest` is what the registry gave back after the push (empty: built, not pushed). `inputs_digest` is over all
    that decides the image: the same inputs are not built or pushed again. `sbom_digest` is of the release's
    `sbom.cdx.json`. Sizes in bytes.
    """

    schema: Literal["trackside.image/1"] = "trackside.image/1"
    model: str
    version: str
    tag: str
    commit: str
    run: str
    model_digest: str
    inputs_digest: str
    bento: str
    service: str
    reference: str = ""
    digest: str = ""
    size: int = 0
    base_image: str = ""
    base_digest: str = ""
    requirements_digest: str = ""
    backend: str = ""
    container: bool = True
    sbom_digest: str = ""
    smoke: Smoke
    built_at: str = ""
