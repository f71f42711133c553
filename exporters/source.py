"""Where a model comes from, by what its name says; all of them become one `SourceModel`.

`exporters.sources.kinds` lists what there is; each kind is read by a module of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from exporters.sources import savedmodel
from exporters.sources.kinds import KINDS, PREFIXES
from exporters.sources.model import SourceModel, from_module
from exporters.sources.savedmodel import ForeignModel
from headtail.errors import UnknownName, UsageFault

__all__ = ["KINDS", "SourceModel", "from_module", "load_module", "load_source"]


def load_source(
    source: str, *, name: str = "", images: Path | None = None
) -> SourceModel | ForeignModel:
    """Any of `KINDS` to a `SourceModel`; raises `SourceFault` with what is missing or wrong.

    `images` is a folder of photos to calibrate and judge with, for sources that bring none.
    """
    kinds = {kind.prefix: kind for kind in PREFIXES}
    prefix, colon, rest = source.partition(":")
    if colon and prefix in kinds:
        module = importlib.import_module(kinds[prefix].module)
        made: SourceModel = module.load(rest, name=name, images=images)
        return made
    if savedmodel.is_saved_model(Path(source)):
        return savedmodel.load(source, name=name, images=images)
    if images is not None:
        raise UsageFault(
            f"--images was given for {source}.",
            expected="A script brings its own inputs, an exported program has its sample inputs.",
            remedy="Define get_calibration_data() and get_eval_batches(), or leave --images out.",
        )
    if source.endswith(".pt2"):
        from exporters.sources import exported_programs

        return exported_programs.load(source, name=name)
    if colon and prefix.isidentifier() and "." not in prefix and not _importable(prefix):
        raise UnknownName("kind of source", prefix, KINDS)
    from exporters.sources import scripts

    return scripts.load(source, name=name)


def load_module(source: str, *, name: str = "", images: Path | None = None) -> SourceModel:
    """As `load_source`; raises `UsageFault` for a source that has no PyTorch program."""
    found = load_source(source, name=name, images=images)
    if isinstance(found, ForeignModel):
        raise UsageFault(
            f"{source} is a TensorFlow SavedModel.",
            expected="This needs a PyTorch program, which a SavedModel does not hold.",
            remedy="Export it with headtail export, or port the model to PyTorch.",
        )
    return found


def _importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
