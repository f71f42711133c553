"""A reference interpreter for Core ML ML programs: what a saved .mlpackage computes, off a Mac.

    program = Program(Path("net.mlpackage"))
    logits, = program.function("main").run([image], mode=Mode.FP32)

`package.py` reads the files, `values.py` types and constants, `program.py` the program,
`evaluation.py` computes it with the operators of `ops_*.py`; `runtime.py` is the adapter that the
rest of Headtail uses. 168 operators exist; those that vision networks need are here.
"""

from exporters.mil.evaluation import Function, Mode, Program
from exporters.mil.runtime import MilRuntime, MilSession

__all__ = ["Function", "MilRuntime", "MilSession", "Mode", "Program"]
