"""Whether tag and statement bear out what a record says, for whoever is about to believe it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trackside
from trackside.errors import ConfigError, DataError, NotFound, Refused
from trackside.models.cache import Cache
from trackside.models.fetch import Fetcher
from trackside.models.layout import printable
from trackside.models.listing import warn
from trackside.models.which import LINK, Found, confirm
from trackside.registry.binding import bond, stated
from trackside.system.files import cache_folder

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.documents.release import Release
    from trackside.documents.run import Run
    from trackside.models.source import Source
    from trackside.registry.state import Event


def cache_of(context: Context) -> Cache:
    """Where files of releases are kept. Raises ConfigError."""
    folder = cache_folder(context.env)
    if folder is None:
        raise ConfigError("there is no place for a cache", remedy="set XDG_CACHE_HOME or HOME", link=LINK)
    return Cache(folder)


def need_bound(context: Context, source: Source, found: Found, release: Release, *, unbound: bool) -> None:
    """That the tag names the statement of this record, and the statement the model's digest.

    The statement is made anew from the run's record; where that is not it, the released one is fetched.

    Args:
        unbound: a tag that names no statement will do; that is told on standard error.

    Raises:
        DataError: they do not (`tag_moved`, `record_differs`).
        Refused: the tag names no statement (`record_unbound`).
        NotFound: the statement is not among the release's files (`asset_missing`).
    """
    confirm(found, release)
    seen = bond(found.event, release)
    if seen.state == "unbound":
        if not unbound:
            raise Refused(
                f"nothing but the data branch says what {found.tag} is",
                why=seen.why,
                remedy="trackside models doctor; if everybody who may write the data branch is trusted: --unbound",
                link=LINK,
                reason_code="record_unbound",
            )
        warn([f"{seen.why}; it is believed as it is (--unbound)"])
        return
    if not _doubt(context, release, source.run(release.model, release.run)):
        return
    why = stated(_statement(context, source, release), release)
    if why:
        raise DataError(
            f"the record of {found.tag} is not what was released",
            why=why,
            remedy="somebody changed it on the data branch: trackside models doctor",
            link=LINK,
            reason_code="record_differs",
        )


def doubt(context: Context, event: Event, release: Release, run: Run | None) -> str:
    """Why nothing but the data branch speaks for a record; empty where tag and statement do.

    GitHub is not asked: a statement that another version of Trackside worded otherwise remains a doubt.

    Args:
        run: the record of the release's run, if there is one.
    """
    return bond(event, release).why or _doubt(context, release, run)


def _doubt(context: Context, release: Release, run: Run | None) -> str:
    from trackside.forge.access import server_of
    from trackside.registry.release import statement_of

    if run is None:
        return f"the data branch has no run {printable(release.run)[:64]}"
    server, there, _ = release.url.partition(f"/{run.source.repository}/releases/")
    try:
        why = stated(statement_of(run, server if there else server_of(context.env)), release)
    except DataError as error:
        return error.message
    if why:
        other = run.trackside != trackside.__version__
        return why + (f"; the run is of Trackside {printable(run.trackside)[:20] or 'unknown'}" if other else "")
    return "" if list(run.metrics) == list(release.metrics) else "its metrics are not those of its run"


def _statement(context: Context, source: Source, release: Release) -> bytes:
    """The statement as it was released, by way of the cache."""
    wanted = [one for one in release.assets if one.role == "statement"]
    if not wanted:
        raise NotFound(
            f"{release.tag} lacks its statement",
            remedy="trackside models doctor",
            link=LINK,
            reason_code="asset_missing",
        )
    fetcher = Fetcher(
        context=context, source=source, cache=cache_of(context), release=release, wanted=wanted[:1], quiet=True
    )
    fetcher.bring()
    return fetcher.held[wanted[0].digest].read_bytes()
