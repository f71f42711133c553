"""Core ML's generated protobuf modules without `import coremltools`, which takes 10 s.

They import each other relatively, so they are loaded as a package of their own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

from headtail.errors import MissingDependency

__all__ = ["proto"]

_ALIAS = "quantizers._coreml_proto"


def proto(name: str) -> Any:
    """The generated module `name`, for example `Model_pb2` or `MIL_pb2`."""
    if _ALIAS not in sys.modules:
        found = importlib.util.find_spec("coremltools")
        if found is None or found.origin is None:
            raise MissingDependency(
                "coremltools",
                needed_for="reading Core ML packages",
                install="pip install 'headtail[export]'",
            )
        package = types.ModuleType(_ALIAS)
        package.__path__ = [str(Path(found.origin).parent / "proto")]
        sys.modules[_ALIAS] = package
    return importlib.import_module(f"{_ALIAS}.{name}")
