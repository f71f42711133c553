"""What makes a converter's process cheaper without changing a byte of what it writes.

Tracing and lowering spend much of their time on what no file contains: provenance copied at every
pass, the operator registry walked for every decomposition, patterns compiled for operators that the
model has not, libraries imported in case somebody passes their models. Everything here is switched
off for the one process that converts or runs a file (`exporters.worker`), and
tests/exporters/test_lean.py holds that the files are the same, and that each switch still switches
something.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import fx

__all__ = ["lean", "plain_imports", "reading_only"]

# coremltools imports every library whose models it could convert, if it is there: 6 s of processor
# time for seven of them. Our programs are torch's. https://docs.python.org/3/reference/import.html:
# None in sys.modules is a module that is not installed.
_UNUSED = {
    "coreml": (
        "executorch",
        "libsvm",
        "sklearn",
        "tensorflow",
        "torchao",
        "torchaudio",
        "torchvision",
        "transformers",
        "xgboost",
    )
}
# Millions of small objects that live until the file is written: with the default of 700 the
# collector walks them over and over.
_COLLECT_AFTER = (200_000, 20, 50)


def reading_only(format_name: str) -> None:
    """Leave out what writes files of the format, for a process of its own that reads them.

    Any part of ExecuTorch's compiler imports all of it first, 4 s of processor time; a file's
    reader is one small part. A package is what has a `__path__`:
    https://docs.python.org/3/reference/import.html#packages
    """
    name = "executorch.exir"
    if format_name != "executorch" or name in sys.modules or find_spec("executorch") is None:
        return
    package = ModuleType(name)
    package.__path__ = [f"{path}/exir" for path in import_module("executorch").__path__]
    sys.modules[name] = package


def plain_imports(format_name: str) -> None:
    """Leave out what the format's library would import and not use; for a process of its own."""
    gc.set_threshold(*_COLLECT_AFTER)
    for name in _UNUSED.get(format_name, ()):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # typeshed knows no absence


@contextmanager
def lean(graphs: Iterable[fx.GraphModule]) -> Iterator[None]:
    """Trace and lower programs of these graphs without the ballast."""
    from torch._export import utils
    from torch.fx.traceback import NodeSource

    with ExitStack() as stack:
        # the records are never changed, so every pass may share them instead of copying the chain
        stack.enter_context(_instead(NodeSource, "__deepcopy__", lambda self, memo: self))
        once = _when_registered(utils._materialize_cpp_cia_ops)
        stack.enter_context(_instead(utils, "_materialize_cpp_cia_ops", once))
        patterns = sys.modules.get("executorch.backends.xnnpack.partition.graphs.bilinear_2d")
        called = (str(node.target) for graph in graphs for node in graph.graph.nodes)
        if patterns and not any("bilinear" in name for name in called):
            # four exported programs, compared with every node: nothing here could match
            stack.enter_context(_instead(patterns, "get_graphs_dict", dict))
        yield


def _when_registered(register: Callable[[], None]) -> Callable[[], None]:
    """`register` only if operators were added since: it walks all of torch's for each namespace."""
    from torch._C import _dispatch_get_registrations_for_dispatch_key as registrations

    known = -1

    def once() -> None:
        nonlocal known
        count = len(registrations("CompositeImplicitAutograd"))
        if count != known:
            register()
            known = count

    return once


@contextmanager
def _instead(owner: Any, name: str, value: Any) -> Iterator[None]:
    missing = object()
    before = vars(owner).get(name, missing)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(owner, name)
        else:
            setattr(owner, name, before)
