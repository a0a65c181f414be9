"""Files of a release by way of the cache: GitHub is asked only for what the cache lacks."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.documents.release import Asset, Release
from trackside.errors import DataError, NotFound
from trackside.forge.model import FoundAsset
from trackside.models.cache import Cache
from trackside.models.layout import columns, printable
from trackside.models.progress import Progress
from trackside.models.which import LINK
from trackside.system.clock import SystemClock
from trackside.system.files import sha256_of

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.forge.github import GithubForge
    from trackside.models.source import Source


@dataclass
class Fetcher:
    """The `wanted` files of one release; an `AssetReader` once `bring` was called. `fetched` counts bytes."""

    context: Context
    source: Source
    cache: Cache
    release: Release
    wanted: Sequence[Asset]
    quiet: bool
    held: dict[str, Path] = field(default_factory=dict)
    fetched: int = 0

    def __post_init__(self) -> None:
        for one in self.wanted:
            path = self.cache.held(one.digest)
            if path is not None:
                self.held[one.digest] = path

    def lacking(self) -> list[Asset]:
        """The files that the cache does not hold."""
        return [one for one in self.wanted if one.digest not in self.held]

    def bring(self) -> None:
        """Fetch what is lacking into the cache. What GitHub says of every file is judged before a byte is asked for.

        Raises:
            NotFound: the release is gone, or one of its files (`asset_missing`).
            DataError: one of them has other bytes than were released (`content_mismatch`).
            ConfigError: GitHub cannot be asked.
        """
        lacking = self.lacking()
        if not lacking:
            return
        with self.source.forge() as forge:
            there = {one.name: one for one in self._listed(forge)}
            for asset, found in [(one, self._checked(one, there.get(one.name))) for one in lacking]:
                self._fetch(forge, asset, found.id)

    def _listed(self, forge: GithubForge) -> tuple[FoundAsset, ...]:
        try:
            return forge.assets(self.release.release_id)
        except NotFound as error:
            raise NotFound(
                f"the release of {self.release.tag} is gone, or the token may not see it",
                why=error.message,
                remedy="trackside models doctor",
                link=LINK,
                reason_code="release_missing",
            ) from error

    def _checked(self, asset: Asset, found: FoundAsset | None) -> FoundAsset:
        if found is None or not found.uploaded:
            raise NotFound(
                f"{self.release.tag} lacks its file {printable(asset.name)[:100]!r}",
                why="its upload was never finished" if found is not None else "",
                remedy="trackside models doctor",
                link=LINK,
                reason_code="asset_missing",
            )
        if (found.digest and found.digest != asset.digest) or found.size != asset.size:
            raise DataError(
                f"{printable(asset.name)} of {self.release.tag} is not the file that was released",
                why=f"it has {found.digest or f'{found.size:,} bytes'}, not {asset.digest}",
                remedy="trackside models doctor",
                link=LINK,
                reason_code="content_mismatch",
            )
        return found

    def _fetch(self, forge: GithubForge, asset: Asset, asset_id: int) -> None:
        with self._progress(asset) as told:

            def fill(partial: Path) -> None:
                before = partial.stat().st_size
                forge.download(asset_id, partial, digest=asset.digest, resume=True, told=told)
                self.fetched += max(asset.size - before, 0)

            self.held[asset.digest] = self.cache.fetch(asset.digest, fill, waits=self._waits).path

    def _progress(self, asset: Asset) -> Progress:
        room = 0 if self.context.commands.active else columns(self.context, sys.stderr)
        label = f"{self.release.tag} {printable(asset.name)[:60]}"
        return Progress(label, asset.size, None if self.quiet else sys.stderr, room, SystemClock().monotonic)

    def _waits(self) -> None:
        if not self.quiet:
            print("another process fetches the same file: waiting for it", file=sys.stderr)

    # What registry.read asks for

    def assets(self, release_id: int) -> tuple[FoundAsset, ...]:
        """The files that are here."""
        del release_id  # one release is all there is
        return tuple(
            FoundAsset(id=0, name=one.name, size=one.size, digest=one.digest, uploaded=True)
            for one in self.wanted
            if one.digest in self.held
        )

    def download(self, asset_id: int, to: Path, *, digest: str) -> None:
        """A copy of a file that is here, its bytes checked: others may write the cache. Raises DataError."""
        del asset_id
        shutil.copyfile(self.held[digest], to)
        if sha256_of(to) != digest:
            to.unlink()
            raise DataError(
                f"{printable(to.name)} of {self.release.tag} was changed in the cache while it was copied",
                why=str(self.held[digest]),
                remedy="find out who writes there, then ask again; XDG_CACHE_HOME names another cache",
                link=LINK,
                reason_code="content_mismatch",
            )
