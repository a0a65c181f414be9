"""One question of `trackside lineage`: read what there is, start where it asks, tell the answer."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trackside.documents.codec import dump
from trackside.errors import ConfigError, DataError
from trackside.lineage import start as starts
from trackside.lineage import trace
from trackside.lineage.graph import Graph, build
from trackside.lineage.mermaid import mermaid
from trackside.lineage.reading import known, listings
from trackside.lineage.render import document, text
from trackside.lineage.start import LINK, Start
from trackside.lineage.trace import Answer
from trackside.models.which import parse_spec
from trackside.system.process import Processes

if TYPE_CHECKING:
    from trackside.app import Context

Form = Literal["text", "json", "mermaid"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One of them is given."""

    spec: str = ""
    data: str = ""
    commit: str = ""
    run: str = ""


def ask(
    context: Context, question: Question, *, form: Form, repo: Path, repository: str = "", depth: int | None = None
) -> int:
    """Print the answer; returns 0.

    Raises:
        NotFound: no such version, run or commit.
        ConfigError: the name means none or several of them.
        DataError: what could not be read may be part of the answer, which was printed (`lineage_incomplete`); or
            nothing is recorded here (`registry_incomplete`).
    """
    spec = parse_spec(question.spec) if question.spec else None
    repo = _top(repo, context)
    found = known(context, repo, repository, spec)
    graph = build(found.records)
    if (meant := found.meant) is not None:
        start = starts.of_version(graph, meant.model, str(meant.version))
        start = replace(start, title=meant.tag if str(spec) == meant.tag else f"{spec} is {meant.tag}")
    elif question.commit:
        start = starts.of_commit(graph, question.commit)
    elif question.run:
        start = starts.of_run(graph, question.run)
    else:
        start = _data(graph, question.data, repo)
    answer = trace.answer(replace(start, notes=(*start.notes, *found.notes)), doubts=found.doubts)
    context.say(rendered(answer, form, depth))
    if answer.doubts:
        raise DataError(
            "this answer may not be whole",
            why="; ".join(answer.doubts)[:600],
            remedy="git fetch --tags origin; dvc fetch; trackside models doctor",
            link=LINK,
            reason_code="lineage_incomplete",
        )
    return 0


def rendered(answer: Answer, form: Form, depth: int | None) -> str:
    if form == "json":
        return dump(document(answer, depth)).decode().rstrip()
    return mermaid(answer, depth).rstrip() if form == "mermaid" else text(answer, depth)


def _top(repo: Path, context: Context) -> Path:
    """The root of the clone that a folder lies in; the folder itself where there is none."""
    argv: list[str | Path] = ["git", "-C", repo, "rev-parse", "--show-toplevel"]
    return Path(Processes(context.env).run(argv, check=False).text.strip() or repo).resolve()


def _data(graph: Graph, given: str, repo: Path) -> Start:
    """A digest; else a path that is recorded; else a file of this machine, by what is in it."""
    known_files = listings(repo, graph)
    if starts.is_digest(given):
        return starts.of_digests(graph, [given], known_files)
    file = Path(given)
    place = file.parent.resolve() / file.name  # DVC may link the file itself to its cache
    inside = place.relative_to(repo).as_posix() if place.is_relative_to(repo) and file.exists() else ""
    start = starts.of_path(graph, inside or given, known_files)
    if start.known or not file.is_file():
        return start
    try:
        digests = _digests(file)
    except OSError as error:
        raise ConfigError(f"{given} cannot be read: {error.strerror}", link=LINK) from error
    found = starts.of_digests(graph, digests, known_files, title=given)
    possible = tuple(dict.fromkeys((*start.possible, *found.possible)))
    return replace(found, possible=possible, notes=(*found.notes, f"by its content: {', '.join(digests)}"))


def _digests(file: Path) -> tuple[str, str]:
    with file.open("rb") as content:
        md5 = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        content.seek(0)
        return f"md5:{md5}", "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()
