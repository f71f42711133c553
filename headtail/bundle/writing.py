"""BundleWriter: files go in one by one, a sealed bundle comes out at once, or nothing does."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import TracebackType

from headtail.bundle.reading import Bundle, sha256_of
from headtail.bundle.staging import Staging
from headtail.errors import UsageFault
from headtail.manifest import MANIFEST, RESERVED, FileRecord, Manifest, is_plain_path
from headtail.strictjson import from_json, to_json

__all__ = ["BundleWriter"]


class BundleWriter:
    """Collects the files of a bundle beside `destination`, then publishes them atomically.

        with BundleWriter(Path("net.bundle")) as writer:
            writer.add("golden.safetensors", data)
            bundle = writer.publish(manifest)

    `destination` must end in `.bundle`; an existing bundle there is a `UsageFault` without `force`.
    Leaving the block without `publish` leaves nothing behind. Equal files and an equal manifest
    give equal bytes. What `force` guarantees stands at `Staging.commit`.
    """

    def __init__(self, destination: Path, *, force: bool = False) -> None:
        self._staging = Staging(destination, force=force)
        self._entered = False

    def __enter__(self) -> BundleWriter:
        self._staging.__enter__()
        self._entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered = False
        self._staging.__exit__(kind, error, trace)

    def add(self, rel: str, source: Path | bytes) -> None:
        """Copy bytes, a file, or a folder (an `.mlpackage`, file by file) to `rel`.

        Raises `UsageFault` for a name that no bundle may hold, a name added before, and anything
        that is neither regular file nor folder.
        """
        if isinstance(source, Path) and source.is_dir() and not source.is_symlink():
            for child in sorted(source.iterdir()):
                self.add(f"{rel}/{child.name}", child)
            return
        target = self._target(rel)
        if isinstance(source, bytes):
            target.write_bytes(source)
        elif source.is_file() and not source.is_symlink():
            shutil.copyfile(source, target)
        else:
            raise UsageFault(
                f"{source} cannot go into a bundle.",
                expected="A bundle holds regular files and folders of them, no links.",
                remedy="Check the path.",
            )

    def publish(self, manifest: Manifest) -> Bundle:
        """Fill in `files`, seal the manifest, and rename the folder into place.

        Raises `SchemaFault` if the manifest does not fit its schema or names a file that was not
        added, `UsageFault` if an artifact's `bytes` are not the bytes that were added.
        """
        folder = self._folder()
        files = {}
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with path.open("rb") as file:
                record = FileRecord(sha256_of(file), path.stat().st_size)
            files[path.relative_to(folder).as_posix()] = record
        # through JSON and back: an int where the schema has a float would change the bytes
        typed = from_json(Manifest, to_json(dataclasses.replace(manifest, files=files)))
        sealed = Manifest.from_bytes(typed.sealed().to_bytes())
        _check_artifact_sizes(sealed)
        (folder / MANIFEST).write_bytes(sealed.to_bytes())
        self._staging.commit()
        self._entered = False
        return Bundle(self._staging.destination, sealed)

    def _target(self, rel: str) -> Path:
        if not is_plain_path(rel) or rel.lower() in RESERVED:
            raise UsageFault(
                f"A bundle cannot hold a file named {rel[:80]!r}.",
                expected="ASCII letters, digits, `.`, `_`, `-` and `/`, no part starting with `.`.",
                remedy="Rename the file.",
            )
        target = self._folder() / rel
        if target.exists() or any(p.is_file() for p in target.parents):
            raise UsageFault(
                f"{rel} was added before.",
                expected="Each file of a bundle is added once.",
                remedy="Give it another name.",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _folder(self) -> Path:
        if not self._entered:
            raise UsageFault(
                "The bundle writer is not open.",
                expected="Files are added inside its `with` block, before `publish`.",
                remedy="Write `with BundleWriter(destination) as writer:`.",
            )
        return self._staging.path


def _check_artifact_sizes(manifest: Manifest) -> None:
    for artifact in manifest.artifacts:
        real = sum(
            record.size
            for rel, record in manifest.files.items()
            if rel == artifact.path or rel.startswith(f"{artifact.path}/")
        )
        if real != artifact.bytes:
            raise UsageFault(
                f"{artifact.path} has {real} bytes, its manifest entry says {artifact.bytes}.",
                expected="An artifact's size is that of the file which was added.",
                remedy="Measure the size after the file is final.",
            )
