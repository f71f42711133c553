"""Packages written with coremltools' MIL builder and saved: what converters seldom write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import quiet

Build = Callable[..., Path]


def builder(coremltools: Any, folder: Path) -> Build:
    """build(make, {name: (shape, dtype)}, target=, precision=, states=) -> saved package.

    `make(mb, **inputs)` builds the program; nothing is optimised away.
    """
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813 - its usual name
    from coremltools.converters.mil.mil import types

    def build(
        make: Callable[..., Any],
        inputs: dict[str, tuple[tuple[int, ...], str]],
        *,
        target: str = "iOS18",
        precision: str = "FLOAT32",
        states: dict[str, tuple[int, ...]] | None = None,
    ) -> Path:
        specs = [mb.TensorSpec(s, dtype=getattr(types, d)) for s, d in inputs.values()]
        specs += [mb.StateTensorSpec(s, dtype=types.fp16) for s in (states or {}).values()]
        names = ", ".join([*inputs, *(states or {})])
        scope = {"make": make, "mb": mb}
        function = eval(f"lambda {names}: make(mb, {names})", scope)  # the builder reads the names
        at = getattr(coremltools.target, target)
        path = folder / f"{len(list(folder.iterdir()))}.mlpackage"
        with quiet():
            coremltools.convert(
                mb.program(input_specs=specs, opset_version=at)(function),
                convert_to="mlprogram",
                minimum_deployment_target=at,
                compute_precision=getattr(coremltools.precision, precision),
            ).save(str(path))
        return path

    return build


@pytest.fixture(scope="session")
def build(coremltools: Any, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """See `builder`."""
    return builder(coremltools, tmp_path_factory.mktemp("built"))


def int32(*values: int) -> np.ndarray:
    """A constant the builder takes as int32."""
    return np.array(values, np.int32)
