"""`path/to/program.pt2`: what `torch.export.save` wrote, with its sample inputs.

Such an archive is the user's own file: reading it unpickles, as torch.export.load does. Bundles
never hold one. https://docs.pytorch.org/docs/stable/user_guide/torch_compiler/export.html
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from exporters.sources.model import SourceModel, from_module, plain_name
from headtail.errors import SourceFault

__all__ = ["load"]


def load(text: str, *, name: str = "") -> SourceModel:
    """The program as a module, its sample inputs as the example."""
    path = Path(text)
    program = _program(path)
    example, keywords = program.example_inputs or ((), {})
    if keywords or not example:
        raise SourceFault(
            f"{path.name} has {len(example)} sample inputs and the keywords {list(keywords)}.",
            expected="Sample inputs are tensors in the order of forward().",
            remedy="Export it again with torch.export.export(model, (x, ...)).",
        )
    module = program.module(check_guards=False)
    for part in module.modules():
        part.training = False  # what was exported behaves as it was captured
    return from_module(module, tuple(example), name=name or plain_name(path.stem), origin=path.name)


def _program(path: Path) -> Any:
    if not path.is_file():
        raise SourceFault(
            f"There is no file {str(path)!r}.",
            expected="A program written by torch.export.save.",
            remedy="Check the path.",
        )
    try:
        return torch.export.load(path)
    except (RuntimeError, ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
        raise SourceFault(
            f"{path} cannot be read: {type(error).__name__}: {str(error)[:200]}",
            expected="A program written by torch.export.save, with a torch no newer than this one.",
            remedy="Export it again with this version of torch.",
        ) from error
