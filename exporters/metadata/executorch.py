"""ExecuTorch constant methods: names that an app calls to read what the file says about itself.

https://docs.pytorch.org/executorch/stable/getting-started-architecture.html: a `.pte` has no
metadata of its own; `constant_methods` of `to_edge_transform_and_lower` are methods without inputs
that return a number or a string.
"""

from __future__ import annotations

from exporters.metadata import USER_PREFIX, Metadata
from headtail.strictjson import canonical_bytes

__all__ = ["MANIFEST", "constant_methods"]

MANIFEST = "headtail_manifest"


def constant_methods(metadata: Metadata) -> dict[str, str | int]:
    """`headtail_manifest` returns all of `metadata` as JSON; the others one thing each."""
    found: dict[str, str | int] = {
        MANIFEST: canonical_bytes(metadata).decode(),
        "headtail_name": metadata.name,
        "headtail_description": metadata.description,
        "headtail_classes": len(metadata.labels),
    }
    if metadata.preprocess is not None:
        found["headtail_preprocess"] = canonical_bytes(metadata.preprocess).decode()
    version = metadata.user.get(f"{USER_PREFIX}version")
    return found | ({"headtail_version": version} if version else {})
