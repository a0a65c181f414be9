"""`trackside models show MODEL@VERSION` and `which`: one version, with all that is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from trackside.errors import DataError, NotFound
from trackside.models.history import actor, course, entry
from trackside.models.history import shown as log
from trackside.models.layout import age, columns, emit, printable, size, table, utc
from trackside.models.listing import warn
from trackside.models.which import LINK, Found, Spec, confirm, find
from trackside.registry.binding import holds_it
from trackside.store.layout import FETCH_DATA

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.documents.image import Image
    from trackside.documents.release import Release
    from trackside.models.showing import Line
    from trackside.models.source import Source
    from trackside.registry.state import Event, RegistryState

SCHEMA = "trackside.which/1"
Wanted = Literal["version", "commit", "digest", "image"]


def which(context: Context, source: Source, spec: Spec, wanted: Wanted, unbound: bool = False) -> int:
    """Print the version that a name means, or its commit, the digest of its model file or its image.

    Raises:
        NotFound, DataError: see `find`; no record says what is `wanted` (`release_missing`, `image_missing`).
        Refused: only a record says the digest (`record_unbound`), unless `unbound`.
    """
    found = find(source, spec)
    release = source.release(found.model, found.version)
    confirm(found, release)
    image = source.image(found.model, found.version) if wanted == "image" or context.json else None
    _need_of(found, release, image)
    tell(found)
    digest, why = _digest(context, source, found, release, needed=wanted == "digest", unbound=unbound)
    reference = image_reference(image.reference, image.digest) if image is not None else ""
    if context.json:
        emit(
            context,
            {
                "schema": SCHEMA,
                "repository": source.repository,
                "asked": str(spec),
                "model": found.model,
                "version": f"v{found.version}",
                "tag": found.event.name,
                "commit": found.commit,
                "stage_tag": found.stage.name if found.stage is not None else "",
                "model_digest": digest,
                "image": reference,
                "release": release.state if release is not None else "",
                "deprecated": found.retired.name if found.retired is not None else "",
                "problems": [*(one.message for one in found.problems), *([why] if why else [])],
            },
        )
        return 0
    answers = {"version": f"v{found.version}", "commit": found.commit, "digest": digest, "image": reference}
    if not answers[wanted] and wanted == "image":
        raise NotFound(
            f"{found.tag} has no image", remedy="run the workflow release.yml", link=LINK, reason_code="image_missing"
        )
    if not answers[wanted]:
        raise NotFound(
            f"{found.tag} has no record of its release",
            remedy=f"{FETCH_DATA}; then: trackside models doctor",
            link=LINK,
            reason_code="release_missing",
        )
    context.say(printable(answers[wanted]))
    return 0


def _digest(
    context: Context, source: Source, found: Found, release: Release | None, *, needed: bool, unbound: bool
) -> tuple[str, str]:
    """The model's digest, and why it is not told."""
    if release is None or not (needed or context.json):
        return "", ""
    from trackside.models.bound import doubt, need_bound

    if needed:
        need_bound(context, source, found, release, unbound=unbound)
        return release.model_digest, ""
    why = doubt(context, found.event, release, source.run(release.model, release.run))
    if why and not unbound:
        return "", f"the digest is not told: {why}"
    return release.model_digest, ""


def _need_of(found: Found, release: Release | None, image: Image | None) -> None:
    """That an image's record is of this version, and the image the one that the stage's tag names, if it names one.

    Raises:
        DataError: it is not (`record_differs`).
    """
    if image is None:
        return
    named = found.stage.trailers.get("Image", "") if found.stage is not None else ""
    here = (image_reference(image.reference, image.digest), image.digest)
    other = named not in ("", *here) and named.rpartition("@")[2] != image.digest
    if other or (release is not None and not holds_it(image, release)):
        raise DataError(
            f"the record of the image is not of {found.tag}",
            why=f"{found.stage.name} names {printable(named)[:200]}" if other and found.stage is not None else "",
            remedy="somebody changed it on the data branch, or promote again to name another image",
            link=LINK,
            reason_code="record_differs",
        )


def tell(found: Found) -> None:
    """On standard error: what is no error, but should be known of an answer."""
    if found.retired is not None:
        why = found.retired.trailers.get("Reason", "")
        warn([f"{found.tag} is deprecated by {found.retired.name}" + (f": {why}" if why else "")])
    warn(f"{one.message}; fix: {one.remedy}" for one in found.problems)


def image_reference(reference: str, digest: str) -> str:
    """`host/name@sha256:…`: what cannot be moved; empty for an image that was not pushed."""
    name = reference.partition("@")[0]
    head, colon, _ = name.rpartition(":")
    plain = head if colon and "/" not in name[len(head) :] else name
    return f"{plain}@{digest}" if plain and digest else ""


def show_version(context: Context, source: Source, spec: Spec, now: datetime) -> int:
    """Print a version. Raises NotFound, DataError: see `find`."""
    from trackside.models.showing import line_document, lines, unproven

    found = find(source, spec)
    state = source.state(found.model)
    (line,) = lines(source, state, found.model, 1, found.version, check=False)
    confirm(found, line.release)
    _need_of(found, line.release, line.image)
    tell(found)
    (why,) = unproven(context, source, [line]).values() or [""]
    events = [one for one in course(state, found.model)[::-1] if _about(state, one, found)]
    if context.json:
        emit(
            context,
            {
                **line_document(line, why),
                "schema": "trackside.version/1",
                "repository": source.repository,
                "model": found.model,
                "problems": [one.message for one in found.problems],
                "files": [
                    {"name": one.name, "role": one.role, "digest": one.digest, "size": one.size}
                    for one in (line.release.assets if line.release is not None else ())
                ],
                "events": [one.name for one in events],
            },
        )
        return 0
    room = columns(context)
    held = f", in {', '.join(line.stages)}" if line.stages else ""
    context.say(printable(f"{found.tag}{held}" + (f": {line.state}" if line.state else "")))
    context.say(table(["", ""], [row for row in _facts(line, now) if row[1]]).lstrip("\n"))
    for text in (_metrics(line, room), _files(line.release, room), log([entry(state, one) for one in events], room)):
        if text:
            context.say("\n" + text)
    return 0


def _about(state: RegistryState, event: Event, found: Found) -> bool:
    return event.tag.version == found.version or state.version_of(event) == found.version


def _facts(line: Line, now: datetime) -> list[list[str]]:
    release, image, event = line.release, line.image, line.event
    when = f"{utc(event.date)} UTC ({age(event.date, now)}) by {actor(event) or '?'}" if event.date else actor(event)
    rows = [["registered", when], ["commit", event.commit]]
    if release is not None:
        model = next((one for one in release.assets if one.role == "model"), None)
        weight = sum(one.size for one in release.assets if one.role == "model")
        rows += [
            ["pull request", f"#{release.pull_request}" if release.pull_request else ""],
            ["run", release.run],
            ["model", f"{model.path or model.name}, {size(weight)}" if model is not None else ""],
            ["digest", release.model_digest],
            ["compared with", f"v{release.previous}" if release.previous else ""],
            ["page", release.url],
        ]
    if image is not None:
        smoke = image.smoke
        rows += [
            ["image", image_reference(image.reference, image.digest) or f"{image.bento}, not pushed"],
            ["smoke test", f"{smoke.passed} of {smoke.requests} requests, {size(image.size)}"],
        ]
    return rows


def _metrics(line: Line, room: int) -> str:
    from trackside.models.showing import ARROWS, better

    rows = []
    for one in line.release.metrics if line.release is not None else ():
        change = line.change(one.name)
        rows.append(
            [
                f"{one.name} {ARROWS.get(one.direction, '')}".rstrip(),
                "-" if one.value is None else f"{one.value:.6g}",
                f"{change:+.3g}" if change else "",
                better(one, change),
            ]
        )
    return table(["METRIC", "VALUE", "CHANGE", ""], rows, room=room, right=(1, 2), shrink={0: 20}) if rows else ""


def _files(release: Release | None, room: int) -> str:
    assets: Sequence[Any] = release.assets if release is not None else ()
    rows = [[one.name, one.role, size(one.size), one.digest] for one in assets]
    return table(["FILE", "ROLE", "SIZE", "DIGEST"], rows, room=room, right=(2,), shrink={3: 19, 0: 20}) if rows else ""
