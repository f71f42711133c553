"""Where a loaded model can be cut, and what a frame then weighs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np

from headtail.errors import UnknownName
from headtail.manifest import Cut, Manifest, QuantTable, head_entry
from headtail.offload.policy import Policy
from headtail.tensors import Array
from headtail.wire.boundary import encode_boundary
from headtail.wire.codecs import Codec
from headtail.wire.codecs import codec as find_codec

__all__ = ["TRUSTED_CODECS", "check_policy", "cuts_with_heads", "encode_times", "frame_sizes"]

# What the planner takes unasked. Fewer than eight bits can change answers, by how much only a
# measurement says: they are for those who name them.
TRUSTED_CODECS = ("aq8t+deflate", "aq8t", "raw32")
_MESSAGE_BYTES = 600  # request line, headers and JSON around a frame, as the client sends them


def cuts_with_heads(manifest: Manifest, entry_points: Iterable[str]) -> dict[str, Cut]:
    """The cuts of which a session has the head, by id."""
    held = set(entry_points)
    return {cut.id: cut for cut in manifest.cuts if head_entry(cut.id) in held}


def check_policy(policy: Policy, manifest: Manifest, entry_points: Sequence[str]) -> None:
    """Raise `UnknownName` for a cut that the bundle, or a head that the session, does not have."""
    if policy.cut is None:
        return
    head = head_entry(manifest.cut(policy.cut).id)
    if head not in entry_points:
        raise UnknownName("entry point", head, entry_points)


def frame_sizes(cuts: Iterable[Cut], policy: Policy) -> dict[str, dict[str, int]]:
    """Bytes of a request by cut and codec, for what `policy` leaves to choose from.

    By the manifest's `wire_bytes` where a codec was measured, else by its bits.
    """
    codecs = TRUSTED_CODECS if policy.codec is None else (policy.codec,)
    found = {}
    for cut in cuts:
        if policy.cut in (None, cut.id):
            fitting = [codec for codec in map(find_codec, codecs) if _fits(codec, cut)]
            found[cut.id] = {codec.id: _frame_bytes(codec, cut) for codec in fitting}
    return {cut: sizes for cut, sizes in found.items() if sizes}


def encode_times(cut: Cut, boundary: Sequence[Array]) -> dict[str, float]:
    """Milliseconds that each trusted codec takes for `boundary` here; none where it is not finite,
    which no codec can carry."""
    if not all(np.isfinite(array).all() for array in boundary):
        return {}
    found = {}
    for codec in filter(lambda codec: _fits(codec, cut), map(find_codec, TRUSTED_CODECS)):
        started = time.perf_counter()
        encode_boundary(boundary, cut, codec.id)
        found[codec.id] = (time.perf_counter() - started) * 1e3
    return found


def _fits(codec: Codec, cut: Cut) -> bool:
    tables: dict[str, tuple[QuantTable, ...]] = {"t": cut.per_tensor, "c": cut.per_channel}
    return not codec.per or len(tables[codec.per]) == len(cut.tensors)


def _frame_bytes(codec: Codec, cut: Cut) -> int:
    packed = sum(codec.packed_bytes(spec) for spec in cut.tensors)
    return cut.wire_bytes.get(codec.id, packed) + _MESSAGE_BYTES
