"""The bundles of a cluster by their id: an actor that keeps their zips in Ray's object store."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from headtail.bundle import Bundle, unpack_zip
from headtail.errors import IntegrityFault

__all__ = ["BundleLibrary", "Unpacked", "start_library"]

Zip = npt.NDArray[np.uint8]


class BundleLibrary:
    """Runs as an actor beside the ingress; what it holds are references."""

    def __init__(self) -> None:
        self._zips: dict[str, tuple[str, list[Any]]] = {}

    def put(self, bundle_id: str, sha256: str, data: Zip) -> None:
        """Keep a bundle's zip; the same id again changes nothing."""
        import ray

        if bundle_id not in self._zips:
            # put again, so that this actor owns it: an object dies with its owner
            self._zips[bundle_id] = (sha256, [ray.put(data)])

    def get(self, bundle_id: str) -> tuple[str, list[Any]] | None:
        """`(SHA-256 of the zip, [reference to it])`; None for a bundle that is not kept."""
        return self._zips.get(bundle_id)

    def ids(self) -> list[str]:
        """The bundles kept, the oldest first."""
        return list(self._zips)

    def remove(self, bundle_id: str) -> None:
        """Let go of a bundle."""
        self._zips.pop(bundle_id, None)


def start_library() -> Any:
    """The handle of a library that lives on this node, as long as this process does."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(BundleLibrary).options(num_cpus=0, scheduling_strategy=here).remote()


class Unpacked:
    """A `with` block in which a zip is an open, verified bundle in a folder of its own."""

    def __init__(self, bundle_id: str, sha256: str, data: Zip) -> None:
        self._bundle_id, self._sha256, self._data = bundle_id, sha256, data
        self._folder = tempfile.TemporaryDirectory(prefix="headtail-replica-")

    def __enter__(self) -> Bundle:
        """Raises `IntegrityFault` unless these are the bytes of that very bundle."""
        try:
            return self._open()
        except BaseException:
            self._folder.cleanup()
            raise

    def __exit__(self, *_error: object) -> None:
        self._folder.cleanup()

    def _open(self) -> Bundle:
        if hashlib.sha256(self._data.data).hexdigest() != self._sha256:
            raise self._other_bytes("the zip's SHA-256 is another")
        path = Path(self._folder.name) / "bundle.zip"
        self._data.tofile(path)
        bundle = unpack_zip(path, path.with_suffix(".bundle"))
        if bundle.manifest.bundle_id != self._bundle_id:
            raise self._other_bytes(f"the zip holds {bundle.manifest.bundle_id}")
        return bundle

    def _other_bytes(self, why: str) -> IntegrityFault:
        return IntegrityFault(
            f"Bundle {self._bundle_id} came to this node damaged: {why}.",
            file="bundle.zip",
            expected="A bundle arrives as it was packed.",
            remedy="Restart the server on Ray; if this happens again, check the node's memory.",
        )
