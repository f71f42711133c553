"""What a person chose, kept in one JSON file of the app's own folder.

A key that an older version did not write has its default. A file that cannot be read (a newer
version's, or damaged) is put aside as `preferences.json.bad` and the defaults hold: the app must
start. A choice that cannot be written holds until the app ends. `fault` says either.
"""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.presenter import Presenter
from headtail.errors import EnvironmentFault, HeadtailError, UnknownName, UsageFault
from headtail.strictjson import canonical_bytes, from_json, parse, to_json

__all__ = ["MODES", "SYSTEM", "THEMES", "PreferenceStore", "Preferences"]

SCHEMA_VERSION = 1
MODES = ("off", "auto", "force")
SYSTEM = "system"
THEMES = ("light", "dark", SYSTEM)


@dataclass(frozen=True)
class Preferences:
    """`server` is an address, "" if none. `mode` is one of `MODES`; `cut` and `codec` are "" where
    the planner chooses. `bundle` is the folder of the one that was open last. `quota_mb` bounds the
    installed bundles together. `picture_may_leave` and what else leaves this device is explained on
    the settings page; nothing does unless a server is set and `mode` is not `off`.
    """

    schema_version: int = SCHEMA_VERSION
    server: str = ""
    mode: str = "off"
    cut: str = ""
    codec: str = ""
    deadline_ms: float = 1000.0
    threads: int = 1
    accelerator: str = "cpu"
    theme: str = "light"
    large_text: bool = False
    picture_may_leave: bool = False
    quota_mb: int = 1024
    bundle: str = ""
    guide_done: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UnknownName("mode", self.mode, MODES)
        if self.theme not in THEMES:
            raise UnknownName("theme", self.theme, THEMES)
        if self.schema_version != SCHEMA_VERSION or not (
            self.deadline_ms > 0 and self.threads > 0 and self.quota_mb >= 0
        ):
            raise UsageFault(
                f"Version {self.schema_version}, a deadline of {self.deadline_ms} ms, "
                f"{self.threads} threads and {self.quota_mb} MB are no choices.",
                expected=f"The version is {SCHEMA_VERSION}; only a quota may be 0, nothing less.",
                remedy="Choose again on the Settings page.",
            )


class PreferenceStore(Presenter[Preferences]):
    """Preferences in `file`; with None they last as long as this object."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.fault: EnvironmentFault | None = None
        super().__init__(self._read())

    def change(self, **changes: Any) -> None:
        """Set some, write the file, tell everybody; nothing happens if they are so already.

        Raises `UnknownName` for a value that does not exist, before anything is changed. Never
        raises because of the file.
        """
        changed = dataclasses.replace(self.state, **changes)
        if changed != self.state:
            self._write(changed)
            self._show(changed)

    def _write(self, preferences: Preferences) -> None:
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part = self._file.with_suffix(".part")
            # not synced: this is the UI thread, and a power cut costs the last choice at most
            part.write_bytes(canonical_bytes(preferences))
            part.replace(self._file)
        except (OSError, UnicodeEncodeError) as error:  # the latter: a path that is no text
            why = getattr(error, "strerror", None) or error
            self.fault = EnvironmentFault(
                f"Your choices could not be kept: {why}.",
                expected=f"They are written to {self._file}.",
                remedy="Make room there; until then they hold as long as the app runs.",
            )
        else:
            self.fault = None

    def _read(self) -> Preferences:
        file = self._file
        if file is None or not file.exists():
            return Preferences()
        try:
            held = parse(file.read_bytes())
            return from_json(Preferences, to_json(Preferences()) | held)
        except (HeadtailError, OSError, TypeError) as error:  # TypeError: JSON, but no object
            aside = file.with_suffix(".json.bad")
            with contextlib.suppress(OSError):
                file.replace(aside)
            said = error.what if isinstance(error, HeadtailError) else str(error)
            self.fault = EnvironmentFault(
                f"Your choices could not be read: {said.rstrip('.')}.",
                expected=f"They are in {file.name}, which was put aside as {aside.name}.",
                remedy="Choose again here; an older app cannot read what a newer one kept.",
            )
            return Preferences()
