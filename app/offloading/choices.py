"""Where a bundle can be cut and how a boundary is packed, as a person may choose it."""

from __future__ import annotations

from dataclasses import dataclass

from headtail.manifest import Artifact, Cut, Manifest
from headtail.offload.options import cuts_with_heads, frame_sizes
from headtail.offload.policy import Policy

__all__ = ["CODECS", "CutChoice", "cut_choices", "usable_codecs"]

CODECS = ("aq8t+deflate", "aq8t", "aq6c+deflate", "aq4c+deflate", "raw16", "raw32")


@dataclass(frozen=True)
class CutChoice:
    """A cut: its id, the share of the model's multiply-accumulates that is done before it, and the
    bytes of a request with the chosen codec, or with the smallest that the planner takes unasked.
    """

    id: str
    share: float
    codec: str
    bytes_up: int


def cut_choices(manifest: Manifest, artifact: Artifact, codec: str) -> tuple[CutChoice, ...]:
    """The cuts of which `artifact` has the head, from early to late; `codec` "" if the planner
    chooses. A cut that the codec does not fit is not among them.
    """
    cuts = _cuts(manifest, artifact)
    sizes = frame_sizes(cuts.values(), Policy(codec=codec or None))
    found = []
    for cut in sorted(cuts.values(), key=lambda cut: cut.head_flops):
        if cut.id in sizes:
            packed, size = min(sizes[cut.id].items(), key=lambda item: item[1])
            found.append(CutChoice(cut.id, cut.head_flops, packed, size))
    return tuple(found)


def usable_codecs(manifest: Manifest, artifact: Artifact) -> tuple[str, ...]:
    """Those of `CODECS` that fit a cut of the artifact."""
    cuts = _cuts(manifest, artifact).values()
    return tuple(codec for codec in CODECS if frame_sizes(cuts, Policy(codec=codec)))


def _cuts(manifest: Manifest, artifact: Artifact) -> dict[str, Cut]:
    return cuts_with_heads(manifest, [entry.name for entry in artifact.entries])
