"""What the server says of itself and its models, over REST and gRPC alike.

`model_configuration` is Triton's extension of that name,
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md,
with what is true here: axis 0 is the batch and stands in `dims`, so `max_batch_size` is 0.
"""

from __future__ import annotations

from typing import Any

import headtail
from companion_server.store import BundleStore, StoredBundle
from headtail.strictjson import to_json
from headtail.tensors import TensorSpec, oip_datatype
from headtail.wire.boundary import INPUT_NAME
from headtail.wire.codecs import CODEC_IDS

__all__ = ["model_configuration", "model_metadata", "server_metadata"]

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "split/1")
REST_EXTENSIONS = ("model_repository", "model_repository(unload_dependents)")  # and not over gRPC
PLATFORM = "pytorch_export"


def server_metadata(*, rest: bool) -> dict[str, Any]:
    """Name, version, and the extensions that are offered over REST, or over gRPC."""
    return {
        "name": "headtail",
        "version": headtail.__version__,
        "extensions": sorted([*EXTENSIONS, *(REST_EXTENSIONS if rest else ())]),
    }


def model_metadata(store: BundleStore, stored: StoredBundle) -> dict[str, Any]:
    """Tensors and versions; under `split` the codecs, and the cuts with what each codec costs."""
    manifest = stored.bundle.manifest
    return {
        "name": manifest.name,
        "versions": [version.bundle_id for version in store.versions(manifest.name)],
        "platform": PLATFORM,
        "inputs": [_tensor(spec) for spec in manifest.inputs],
        "outputs": [_tensor(spec) for spec in manifest.outputs],
        "split": {
            "bundle": stored.bundle_id,
            "input": INPUT_NAME,
            "codecs": list(CODEC_IDS),
            "cuts": [
                {
                    "id": cut.id,
                    "tensors": [_tensor(spec) for spec in cut.tensors],
                    "fidelity": to_json(cut.fidelity),
                }
                for cut in manifest.cuts
            ],
        },
    }


def model_configuration(stored: StoredBundle) -> dict[str, Any]:
    """Triton's model configuration of a bundle."""
    manifest = stored.bundle.manifest
    return {
        "name": manifest.name,
        "platform": PLATFORM,
        "backend": "headtail",
        "max_batch_size": 0,
        "input": [_configured(spec) for spec in manifest.inputs],
        "output": [_configured(spec) for spec in manifest.outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    # axis 0 is the batch, and -1 is the protocol's word for any size
    return {"name": spec.name, "datatype": oip_datatype(spec), "shape": [-1, *spec.shape[1:]]}


def _configured(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "data_type": f"TYPE_{oip_datatype(spec)}",
        "dims": [-1, *spec.shape[1:]],
    }
