"""Names for versions of a model: `prod`, `canary`, whatever a team says; `latest` is always there.

    aliases.json = canonical {"aliases": {model: {alias: bundle_id}}, "schema_version": 1}

The file is replaced atomically, so a reader finds the old names or the new ones. `latest` is what a
request without a version means. The server moves it to each bundle it publishes; moving it by hand
lasts until then.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from companion_server.store.faults import full_disk_refused
from companion_server.store.folder import is_bundle_id, sync_folder
from headtail.errors import SchemaFault, UsageFault
from headtail.strictjson import canonical_bytes, from_json, parse

__all__ = ["LATEST", "Aliases", "check_alias"]

LATEST = "latest"
SCHEMA_VERSION = 1
MAX_BYTES = 4 << 20
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


def check_alias(name: str) -> None:
    """Raise `UsageFault` unless `name` can be an alias; an id cannot, so the two never clash."""
    if not _NAME.fullmatch(name):
        raise UsageFault(
            f"{name[:80]!r} cannot be an alias.",
            expected="1 to 32 lower-case letters, digits, `.`, `_` and `-`, no sign at the front.",
            remedy="Choose a name such as `prod` or `canary`.",
        )


@dataclass(frozen=True)
class Aliases:
    """Model -> alias -> bundle id. A value: changing it makes another."""

    schema_version: int
    aliases: dict[str, dict[str, str]]

    @classmethod
    def none(cls) -> Aliases:
        """No alias at all."""
        return cls(SCHEMA_VERSION, {})

    @classmethod
    def read(cls, path: Path) -> Aliases:
        """Those in the file, none if there is no file; `SchemaFault` if it is not one."""
        if not path.exists():
            return cls.none()
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        found = from_json(cls, parse(data, path=path.name), path=path.name)
        if found.schema_version != SCHEMA_VERSION:
            raise SchemaFault(
                f"Schema version {found.schema_version} is not {SCHEMA_VERSION}",
                f"{path.name}.schema_version",
                remedy=f"Update Headtail, or delete {path} and set the aliases again.",
            )
        for model, names in found.aliases.items():
            for name, bundle_id in names.items():
                if not _NAME.fullmatch(name) or not is_bundle_id(bundle_id):
                    raise SchemaFault(
                        f"{name!r} is {bundle_id!r}, which is no alias of a bundle",
                        f"{path.name}.aliases.{model}",
                        remedy=f"Correct {path}, or delete it and set the aliases again.",
                    )
        return found

    def of(self, model: str) -> Mapping[str, str]:
        """The aliases of one model."""
        return self.aliases.get(model, {})

    def changed(self, model: str, alias: str, bundle_id: str | None) -> Aliases:
        """With `alias` pointing to `bundle_id`; without the alias if that is None."""
        names = {**self.of(model), alias: bundle_id}
        kept = {name: held for name, held in names.items() if held is not None}
        rest = {other: held for other, held in self.aliases.items() if other != model}
        return Aliases(SCHEMA_VERSION, {**rest, model: kept} if kept else rest)

    def write(self, path: Path) -> None:
        """Replace the file; `StorageFull` leaves the old one."""
        with full_disk_refused(path.parent):
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            partial = Path(name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(canonical_bytes(self))
                    file.flush()
                    os.fsync(file.fileno())
                partial.chmod(0o644)
                partial.replace(path)
                sync_folder(path.parent)
            finally:
                partial.unlink(missing_ok=True)
