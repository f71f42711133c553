"""A run of the benchmark as JSON, one file per run in the app's own folder.

    <folder>/benchmarks/20261122T004501123Z.json   canonical JSON of `Run`, whole or not at all

Times are UTC. A file that cannot be read (another version's, or damaged) is put aside as `.bad`.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from dataclasses import dataclass
from pathlib import Path

from app.benchmark.matrix import LeftOut
from app.benchmark.measure import Effort, Measured
from app.machine.facts import MachineFacts
from headtail.errors import HeadtailError, SchemaFault
from headtail.strictjson import canonical_bytes, from_json, parse

__all__ = ["SCHEMA_VERSION", "Records", "Run", "now_utc", "stamp_of", "write_whole"]

SCHEMA_VERSION = 1
KEPT = 100  # runs; the oldest go first
COMPARED = 5  # runs whose scatter is known as noise


@dataclass(frozen=True)
class Run:
    """What was measured at `started_at` (ISO 8601, UTC) on `machine`; `complete` unless somebody
    stopped it. `app_version` is Headtail's."""

    schema_version: int
    started_at: str
    app_version: str
    machine: MachineFacts
    effort: Effort
    cells: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...]
    complete: bool

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise SchemaFault(
                f"Schema version {self.schema_version} is not {SCHEMA_VERSION}",
                "$.schema_version",
                remedy="Read it with the Headtail that wrote it.",
            )
        try:
            datetime.datetime.fromisoformat(self.started_at)
        except ValueError:
            raise SchemaFault(
                f"{self.started_at[:40]!r} is no time", "$.started_at", remedy="Measure again."
            ) from None


class Records:
    """The runs in `folder`, oldest first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, run: Run) -> Path:
        """Write a run; the oldest beyond `KEPT` go. Raises `OSError`, such as for a full disk."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{stamp_of(run.started_at)}.json"
        write_whole(path, canonical_bytes(run))
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)
        return path

    def of(self, machine: MachineFacts) -> list[Run]:
        """The newest runs that were taken on the same machine, at most `COMPARED`, newest first."""
        runs: list[Run] = []
        for file in reversed(self._files()):
            run = _read(file)
            if run is not None and run.machine.identity == machine.identity:
                runs.append(run)
            if len(runs) == COMPARED:
                break
        return runs

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.json"))


def now_utc() -> str:
    """This moment in ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def stamp_of(moment: str) -> str:
    """A moment of `now_utc` as it stands in file names; names in order are moments in order."""
    return datetime.datetime.fromisoformat(moment).strftime("%Y%m%dT%H%M%S%f")[:-3] + "Z"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, whatever happens."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read(file: Path) -> Run | None:
    try:
        return from_json(Run, parse(file.read_bytes()))
    except (HeadtailError, OSError):
        with contextlib.suppress(OSError):  # where it cannot be put aside it is passed over
            file.replace(file.with_suffix(".bad"))
        return None
