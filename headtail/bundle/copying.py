"""copy_bundle: the same bundle in another place, every byte of it checked on the way."""

from __future__ import annotations

from pathlib import Path

from headtail.bundle.reading import Bundle, open_regular
from headtail.bundle.signature import SIGNATURE, read_signature
from headtail.bundle.staging import Staging
from headtail.bundle.transport import copy_checked
from headtail.manifest import MANIFEST

__all__ = ["copy_bundle"]


def copy_bundle(bundle: Bundle, destination: Path) -> Bundle:
    """Copy to `destination` (new, named `NAME.bundle`), all or nothing; reports stay at home.

    Raises `IntegrityFault`, whose `file` names what is not as the manifest promises, and
    `UsageFault` for a destination that exists.
    """
    with Staging(destination) as staging:
        (staging.path / MANIFEST).write_bytes(bundle.manifest.to_bytes())
        if signature := read_signature(bundle):
            (staging.path / SIGNATURE).write_bytes(signature.to_bytes())
        for rel, record in sorted(bundle.manifest.files.items()):
            target = staging.path / rel
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_regular(bundle.path, rel) as source, target.open("xb") as out:
                copy_checked(source, out, rel, record)
        staging.commit()
    return Bundle(destination, bundle.manifest)
