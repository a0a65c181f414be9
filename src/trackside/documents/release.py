"""`trackside.release/1`: a version of a model, as the registry made it; kept on the data branch."""

from __future__ import annotations

from typing import Literal

from trackside.documents.codec import Document
from trackside.documents.run import Metric, Part


class Asset(Part, frozen=True, kw_only=True):
    """A file of the release: `digest` is `sha256:<64 hex>`, `size` in bytes. `path` is where a model file belongs.

    `part` counts from 1 where a file above GitHub's limit was split (0: whole); the parts in order are the file.
    """

    name: str
    role: Literal["model", "run", "statement", "card", "profile", "manifest", "golden", "image", "sbom", "bom"]
    digest: str
    size: int
    path: str = ""
    part: int = 0


class Release(Document, frozen=True, kw_only=True):
    """`tag` is `<model>@v<version>`; `release_id` finds a draft, which the look-up by tag does not.

    `tag_object` is the SHA of the annotated tag, whose push was the claim. `model_digest` is the sha256 of the model
    file that the run recorded. A `draft` has its id and all its files: only publication is left.
    """

    schema: Literal["trackside.release/1"] = "trackside.release/1"
    model: str
    version: str
    tag: str
    commit: str
    tag_object: str = ""
    run: str
    state: Literal["claimed", "draft", "published"]
    release_id: int = 0
    url: str = ""
    bump: Literal["major", "minor", "patch"] = "patch"
    previous: str = ""
    pull_request: int | None = None
    model_digest: str = ""
    statement_digest: str = ""
    created_at: str = ""
    metrics: list[Metric] = []
    assets: list[Asset] = []
