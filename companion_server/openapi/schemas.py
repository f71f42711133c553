"""The JSON bodies, as JSON Schema 2020-12 under `#/components/schemas`."""

from __future__ import annotations

from typing import Any

from headtail.tensors import DTYPES, MAX_RANK

__all__ = ["SCHEMAS", "reference"]

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SCALAR: Schema = {"type": ["string", "number", "boolean"]}
HASH: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
DATATYPE: Schema = {"type": "string", "enum": [oip for _, oip in DTYPES.values()]}


def reference(name: str) -> Schema:
    """A `$ref` to one of `SCHEMAS`."""
    if name not in SCHEMAS:
        raise KeyError(name)
    return {"$ref": f"#/components/schemas/{name}"}


def _object(
    required: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any
) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
        **more,
    }


def _array(items: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": items, **more}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SHARE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_SHAPE = _array({"type": "integer", "minimum": 0}, maxItems=MAX_RANK)
_EXAMPLE = {
    "id": "1",
    "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, -1.0]}],
    "outputs": [{"name": "logits", "parameters": {"classification": 3}}],
}
_PROTOCOL: dict[str, Schema] = {
    "Live": _object({"live": {"const": True}}),
    "Ready": _object(
        {"ready": {"const": True}},
        {"withdrawn": _array(HASH, description="Bundles that changed on disk, no longer served.")},
    ),
    "ModelReady": _object({"name": TEXT, "version": HASH, "ready": {"const": True}}),
    "ServerMetadata": _object(
        {"name": TEXT, "version": TEXT, "extensions": _array(TEXT)},
        description="What the server is, and which extensions of the protocol it speaks.",
    ),
    "TensorMetadata": _object(
        {
            "name": TEXT,
            "datatype": DATATYPE,
            "shape": _array({"type": "integer", "minimum": -1}),
        },
        description="-1 is any size; axis 0 is the batch.",
    ),
    "ModelMetadata": _object(
        {
            "name": TEXT,
            "versions": _array(HASH),
            "platform": TEXT,
            "inputs": _array(_ref("TensorMetadata")),
            "outputs": _array(_ref("TensorMetadata")),
            "split": _ref("SplitMetadata"),
        }
    ),
    "SplitMetadata": _object(
        {
            "bundle": HASH,
            "input": TEXT,
            "codecs": _array(TEXT),
            "cuts": _array(
                _object(
                    {
                        "id": TEXT,
                        "tensors": _array(_ref("TensorMetadata")),
                        "fidelity": {"type": "object", "additionalProperties": _ref("Fidelity")},
                    }
                )
            ),
        },
        description="How the tail can be entered: the one UINT8 input of a split request, the "
        "codecs of its frame, and the tensors of each cut with what each codec costs.",
    ),
    "Fidelity": _object(
        {
            "n": {"type": "integer", "minimum": 1},
            **dict.fromkeys(("top1", "low", "high"), _SHARE),
            **{key: {"type": "number"} for key in ("snr_db_mean", "snr_db_min")},
        },
        description="Measured at export on n inputs, from the fp32 head through the codec and the "
        "tail: the share of answers that are the unsplit model's with its 95 % interval, null for "
        "models that do not classify, and the outputs' signal-to-noise ratio.",
    ),
    "ConfiguredTensor": _object(
        {"name": TEXT, "data_type": TEXT, "dims": _array({"type": "integer", "minimum": -1})}
    ),
    "ModelConfiguration": _object(
        {
            "name": TEXT,
            "platform": TEXT,
            "backend": TEXT,
            "max_batch_size": {"const": 0},
            "input": _array(_ref("ConfiguredTensor")),
            "output": _array(_ref("ConfiguredTensor")),
        },
        description="Triton's model configuration. max_batch_size is 0: the batch is in dims.",
    ),
    "RequestInput": _object(
        {"name": TEXT, "shape": _SHAPE, "datatype": DATATYPE},
        {
            "data": _array({}, description="Row-major, flat or nested as the shape is."),
            "parameters": _object({}, {"binary_data_size": COUNT}),
        },
        description="A tensor in the JSON (`data`) or behind it (`binary_data_size` bytes, "
        "row-major, little endian): one of the two. FP16 goes behind it.",
    ),
    "RequestedOutput": _object(
        {"name": TEXT},
        {
            "parameters": _object(
                {},
                {
                    "binary_data": {"type": "boolean"},
                    "classification": {
                        **COUNT,
                        "description": "Give so many classes, as value:index:label.",
                    },
                },
            )
        },
    ),
    "InferRequest": _object(
        {"inputs": _array(_ref("RequestInput"), minItems=1, maxItems=64)},
        {
            "id": {"type": "string", "maxLength": 1024},
            "outputs": _array(_ref("RequestedOutput"), maxItems=64),
            "parameters": _ref("RequestParameters"),
        },
        examples=[_EXAMPLE],
    ),
    "RequestParameters": {
        "type": "object",
        "properties": {
            "binary_data_output": {"type": "boolean", "description": "The outputs' default."},
            "timeout": {**COUNT, "description": "Microseconds in which compute must begin."},
            "split.bundle": {**HASH, "description": "The bundle whose head was run."},
            "split.cut": {**TEXT, "description": "Where the tail is entered."},
            "split.codec": {**TEXT, "description": "The codec of the frame."},
            "split.deadline_ms": {
                **COUNT,
                "description": "How long the answer is of use, from the request's arrival.",
            },
        },
        "additionalProperties": SCALAR,
    },
    "ResponseOutput": _object(
        {
            "name": TEXT,
            "shape": _SHAPE,
            "datatype": {**DATATYPE, "enum": [*DATATYPE["enum"], "BYTES"]},
        },
        {"data": _array({}), "parameters": _object({"binary_data_size": COUNT})},
    ),
    "InferResponse": _object(
        {
            "model_name": TEXT,
            "model_version": HASH,
            "outputs": _array(_ref("ResponseOutput"), minItems=1),
        },
        {"id": TEXT, "parameters": {"type": "object", "additionalProperties": SCALAR}},
        description="Its parameters are the server's own times: split.decode_ms, split.queue_ms, "
        "split.compute_ms, and split.batch, the samples computed together; for a split request "
        "also split.crc32, of its outputs' bytes.",
    ),
}
_BUNDLES: dict[str, Schema] = {
    "Agreement": _object(
        {
            "n": COUNT,
            **{key: {"type": ["number", "null"]} for key in ("top1", "low", "high")},
            **{key: {"type": "number"} for key in ("snr_db_mean", "snr_db_min")},
        },
        description="With the fp32 PyTorch model on n inputs; low to high is the Wilson 95 % "
        "interval of top1, which is null for models that do not classify.",
    ),
    "Artifact": _object(
        {
            "format": TEXT,
            "precision": TEXT,
            "bytes": COUNT,
            "verdict": TEXT,
            "agreement": _ref("Agreement"),
        }
    ),
    "Bundle": _object(
        {
            "bundle_id": HASH,
            "name": TEXT,
            "task": TEXT,
            "bytes": COUNT,
            "sha256": HASH,
            "signed_by": TEXT,
            "aliases": _array(TEXT),
            "artifacts": _array(_ref("Artifact")),
        },
        description="bytes and sha256 are those of the zip; signed_by is an Ed25519 key or empty.",
    ),
    "Bundles": _array(_ref("Bundle")),
    "BundleStatus": _object(
        {
            "bundle_id": TEXT,
            "state": {
                "enum": [
                    "incoming",
                    "checking",
                    "loading",
                    "live",
                    "unloaded",
                    "refused",
                    "withdrawn",
                ]
            },
        },
        {"model": TEXT, "received": COUNT, "bytes": COUNT, "error": TEXT},
    ),
    "Aliases": {"type": "object", "additionalProperties": HASH},
    "Alias": _object({"bundle_id": TEXT}),
    "RepositoryModel": _object(
        {
            "name": TEXT,
            "version": HASH,
            "state": {"enum": ["READY", "LOADING", "UNAVAILABLE"]},
            "reason": TEXT,
        }
    ),
    "RepositoryIndex": _array(_ref("RepositoryModel")),
    "RepositoryIndexRequest": _object({}, {"ready": {"type": "boolean"}}),
    "RepositoryRequest": _object({}, {"parameters": {"type": "object"}}),
    "Redemption": _object(
        {"token": TEXT, "name": {"type": "string", "minLength": 1, "maxLength": 64}}
    ),
    "Key": _object({"key": TEXT, "key_id": TEXT, "name": TEXT, "scopes": _array(TEXT)}),
    "PairingCode": _object({"uri": TEXT, "svg": TEXT, "expires_in_s": {"type": "number"}}),
    "Status": {
        "type": "object",
        "required": ["server", "queue", "window", "totals", "bundles", "clients"],
        "description": "What the status page shows; its fields may grow.",
    },
}
_ERRORS: dict[str, Schema] = {
    "Error": _object({"error": TEXT}, description="What, what was expected, what to do next."),
    "Conflict": _object(
        {"error": TEXT},
        {
            "held": {"type": "object", "additionalProperties": _array(TEXT)},
            "received": COUNT,
            "busy": {"type": "boolean"},
        },
        description="held: the bundles that the server has, each with its cuts. received: where an "
        "upload goes on. busy: the same upload is being sent by somebody else.",
    ),
    "Shed": _object({"error": TEXT}, {"retry_after_ms": COUNT}),
}
SCHEMAS: dict[str, Schema] = {**_PROTOCOL, **_BUNDLES, **_ERRORS}
