"""A split request and its answer as messages: what HTTP and the stream send alike. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headtail.errors import BundleMismatch, WireFault
from headtail.manifest import Cut
from headtail.tensors import Array
from headtail.wire import boundary, oip, split

__all__ = ["check_answer", "encode_call"]


def encode_call(
    bundle_id: str,
    cut: Cut,
    codec_id: str,
    arrays: Sequence[Array],
    *,
    deadline_ms: float,
    call_id: str = "",
) -> tuple[dict[str, str], bytes]:
    """Headers and body of a request for the tail behind `cut`, of its float32 `arrays`.

    Raises `TensorMismatch` and `UnknownName`.
    """
    frame = np.frombuffer(boundary.encode_boundary(arrays, cut, codec_id), np.uint8)
    options = split.SplitParameters(bundle_id, cut.id, codec_id, max(1, int(deadline_ms)))
    return oip.encode_request(
        oip.InferRequest(
            (oip.NamedArray(boundary.INPUT_NAME, frame),),
            id=call_id,
            parameters=options.to_parameters(),
            binary_outputs=True,
        )
    )


def check_answer(answer: oip.InferResponse, bundle_id: str, call_id: str) -> list[Array]:
    """The outputs of an answer, copied out of its body, in the server's order.

    Raises `WireFault` if it answers another request than `call_id` or its outputs are not those of
    its checksum (Triton's answers have none), and `BundleMismatch` if another bundle than
    `bundle_id` answered: the answer's version, or where versions can only be numbers, as in Triton,
    its parameter `split.bundle`.
    """
    if answer.id != call_id:
        raise WireFault(
            f"The server answered request {answer.id[:80]!r}.",
            expected=f"The request was {call_id!r}; a server repeats its id.",
            remedy="Use one version of Headtail at both ends.",
        )
    ran = str(answer.parameters.get(split.BUNDLE, answer.model_version))
    if ran != bundle_id:
        raise BundleMismatch(
            f"The server ran bundle {ran[:80]!r}.",
            held={ran[:80]: []},
            expected=f"The request was for {bundle_id!r}.",
            remedy="Serve this bundle there.",
        )
    outputs = [np.array(tensor.array) for tensor in answer.outputs]
    promised = answer.parameters.get(split.CHECKSUM)
    if promised is not None and promised != split.checksum(outputs):
        raise WireFault(
            f"The answer's outputs have the checksum {split.checksum(outputs)}.",
            expected=f"The server sent them with {promised}.",
            remedy="Use TLS, or find out what damages messages on the way.",
        )
    return outputs
