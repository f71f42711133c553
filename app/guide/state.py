"""The steps of the guide, and where in it a person is."""

from __future__ import annotations

from dataclasses import dataclass

from app.pages import PageName

__all__ = ["STEPS", "GuideState", "Step"]


@dataclass(frozen=True)
class Step:
    """One step: what to do, and the page on which it is done; `scans` a pairing code, perhaps."""

    title: str
    text: str
    page: PageName
    scans: bool = False


STEPS = (
    Step(
        "Get a bundle",
        "A bundle is a model, made ready for {device}. This page lists those that are here and "
        "those that a server offers; a bundle's file can be opened as well.",
        PageName.MODELS,
    ),
    Step(
        "Pair a server, or stay here",
        "A companion server computes the heavy layers. Scan the code that it shows, or type it on "
        "this page. Without one all is computed on {device}.",
        PageName.SETTINGS,
        scans=True,
    ),
    Step(
        "Point it at something",
        "Choose camera, photos or the demo on this page. The badge on the picture says where each "
        "answer was computed.",
        PageName.LIVE,
    ),
)


@dataclass(frozen=True)
class GuideState:
    """`step` is the index in `STEPS`, None while the guide is closed. `done` says of each step
    whether what it asks for is there already.
    """

    device: str
    step: int | None = None
    done: tuple[bool, ...] = (False,) * len(STEPS)
