"""Converting nets with coremltools: imported once, silenced, each net once per session."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.capabilities import require

Convert = Callable[..., Path]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """coremltools 9.0 warns about its own use of ast, pkg_resources and tensors under torch 2.13
    and logs every package it was not tested with; none of that is about our code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def export(net: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    """The program coremltools converts."""
    with quiet():
        program = torch.export.export(net.eval(), inputs)
        decomposed: torch.export.ExportedProgram = program.run_decompositions({})
    return decomposed


@pytest.fixture(scope="session")
def coremltools() -> Any:
    """The converter, or a skipped test where it is not installed."""
    import importlib.util

    require(importlib.util.find_spec("coremltools") is not None, "coremltools is not installed")
    with quiet():
        import coremltools
        import coremltools.optimize.coreml  # the submodule is not imported by its parent
    return coremltools


@pytest.fixture(scope="session")
def convert(coremltools: Any, tmp_path_factory: pytest.TempPathFactory) -> Convert:
    """convert(net, inputs, name, precision=, target=, compress=) -> path of the saved package."""

    def run(
        net: torch.nn.Module | torch.export.ExportedProgram,
        inputs: tuple[torch.Tensor, ...],
        name: str,
        *,
        precision: str = "FLOAT32",
        target: str = "iOS18",
        compress: Callable[[Any], Any] | None = None,
    ) -> Path:
        path = tmp_path_factory.mktemp("packages") / f"{name}.mlpackage"
        with quiet():
            program = net if isinstance(net, torch.export.ExportedProgram) else export(net, inputs)
            model = coremltools.convert(
                program,
                compute_precision=getattr(coremltools.precision, precision),
                minimum_deployment_target=getattr(coremltools.target, target),
            )
            (compress(model) if compress else model).save(str(path))
        return path

    torch.set_num_threads(1)  # 2 threads are 3-20 times slower on small machines
    return run


@pytest.fixture(scope="session")
def small_net(convert: Convert) -> Callable[[str, str, str], Path]:
    """small_net(name, precision, target) -> package of a net of `nets.NETS`."""
    from .nets import build, photos

    @lru_cache
    def package(name: str, precision: str, target: str) -> Path:
        return convert(build(name), (photos()[:1],), name, precision=precision, target=target)

    return package
