"""Files → release assets: names that GitHub keeps as they are, folders as one archive, parts below the limit."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from trackside.documents.release import Asset
from trackside.errors import DataError
from trackside.forge.operations import ReleaseAsset
from trackside.system.files import sha256_of

LIMIT = 2_147_483_647
"""Bytes of an asset: GitHub takes less than 2 GiB."""

FOLDER = ".folder.zip"
"""Ending of a folder's archive; its name without it is the folder's."""

MANIFEST = "manifest.json"
Role = Literal["model", "run", "statement", "card", "profile", "manifest", "golden", "bom"]
OWN = (
    *(MANIFEST, "README.md", "run.json", "provenance.intoto.json", "drift-profile.json", "golden.jsonl"),
    *("image.json", "sbom.cdx.json", "mlbom.cdx.json"),
)
"""Names of the files that a release has beside the model."""

_CHUNK = 4 * 1024 * 1024
_OLD = (1980, 1, 1, 0, 0, 0)


@dataclass
class Package:
    """What a release consists of: operations' values and the record's, side by side."""

    folder: Path
    limit: int = LIMIT
    uploads: list[ReleaseAsset] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)

    def add(self, role: Role, name: str, content: bytes, media_type: str = "application/json") -> str:
        """A small file; returns its digest."""
        path = self.folder / name
        path.write_bytes(content)
        return self._add(role, name, path, media_type)

    def add_model(self, source: Path, path: str, digest: str) -> None:
        """The model: a file, or a folder as one archive; in parts with a manifest where it is too large.

        Args:
            source: where it lies here.
            path: where it belongs, relative to the repository.
            digest: what the run recorded, for the manifest.
        """
        name = model_name(path)
        folder = source.is_dir()
        if folder:
            name += FOLDER
            source = pack(source, self.folder / name)
        size = source.stat().st_size
        if size <= self.limit:
            self._add("model", name, source, "application/octet-stream", path=path)
            if not folder:
                return
        else:
            for number, part in enumerate(split(source, self.folder, name, self.limit), 1):
                self._add("model", part.name, part, "application/octet-stream", path=path, part=number)
        manifest = {
            "schema": "trackside.manifest/1",
            "path": path,
            "digest": digest,
            "file": {"name": name, "digest": sha256_of(source), "size": size},
            "parts": [
                {"name": one.name, "digest": one.digest, "size": one.size}
                for one in self.assets
                if one.role == "model" and one.part
            ],
        }
        self.add("manifest", MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")

    def _add(self, role: Role, name: str, file: Path, media_type: str, *, path: str = "", part: int = 0) -> str:
        digest, size = sha256_of(file), file.stat().st_size
        self.uploads.append(ReleaseAsset(name=name, path=file, digest=digest, size=size, media_type=media_type))
        self.assets.append(Asset(name=name, role=role, digest=digest, size=size, path=path, part=part))
        return digest


def asset_name(name: str) -> str:
    """A name as GitHub keeps it: other characters than letters, digits, `._-` become dots there."""
    made = re.sub(r"[^A-Za-z0-9._-]+", ".", name).strip(".") or "model"
    return made[:120]


def model_name(path: str) -> str:
    """The asset that a model file becomes; none of the names that a release needs itself."""
    name = asset_name(path.rpartition("/")[2])
    return f"model-{name}" if name in OWN else name


def split(source: Path, folder: Path, name: str, limit: int) -> list[Path]:
    """Parts of at most `limit` bytes, in order: `model.bin.part01`, …"""
    made: list[Path] = []
    with source.open("rb") as file:
        while piece := file.read(min(_CHUNK, limit)):
            made.append(folder / f"{name}.part{len(made) + 1:02d}")
            with made[-1].open("wb") as part:
                written = 0
                while piece:
                    part.write(piece)
                    written += len(piece)
                    piece = file.read(min(_CHUNK, limit - written)) if written < limit else b""
    return made


def pack(folder: Path, to: Path) -> Path:
    """A folder as an archive whose bytes depend on nothing but names and contents."""
    with zipfile.ZipFile(to, "w", compression=zipfile.ZIP_STORED, allowZip64=True) as archive:
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _OLD)
            entry.external_attr = 0o644 << 16
            entry.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(entry, "w") as target:
                while piece := source.read(_CHUNK):
                    target.write(piece)
    return to


def unpack(archive: Path, folder: Path) -> None:
    """The files of `pack`.

    Raises:
        DataError: it is none of those archives: damaged, packed, or it names anything outside of the folder, or twice.
    """
    try:
        with zipfile.ZipFile(archive) as found:
            for entry in found.infolist():
                parts = entry.filename.split("/")
                odd = "\\" in entry.filename or any(part in ("", ".", "..") for part in parts)
                target = folder.joinpath(*parts)
                if odd or entry.is_dir() or entry.compress_type != zipfile.ZIP_STORED or target.exists():
                    raise DataError(f"{archive.name} holds {entry.filename[:100]!r}", reason_code="document_invalid")
                target.parent.mkdir(parents=True, exist_ok=True)
                with found.open(entry) as source, target.open("wb") as file:
                    while piece := source.read(_CHUNK):
                        file.write(piece)
    except (zipfile.BadZipFile, EOFError, RuntimeError, FileExistsError, NotADirectoryError) as error:
        raise DataError(f"{archive.name} is damaged", why=str(error)[:200], reason_code="document_invalid") from error
