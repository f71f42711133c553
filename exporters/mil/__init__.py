"""A reference interpreter for Core ML ML programs: what a saved .mlpackage computes, off a Mac.

    program = Program(Path("net.mlpackage"))
    logits, = program.function("main").run([image], mode=Mode.FP32)

`package.py` reads the files, `values.py` types and constants, `reading.py` and `program.py` the
program, `evaluation.py` computes it with the operators of `ops_*.py`; `prediction.py` predicts by
names as Core ML does; `runtime.py` is the adapter that the rest of Headtail uses. All core
operators of iOS15 to iOS18 are known. Random ones cannot draw Apple's numbers.
"""

from exporters.mil.evaluation import Function, Mode, Program
from exporters.mil.prediction import Model
from exporters.mil.runtime import MilRuntime, MilSession

__all__ = ["Function", "MilRuntime", "MilSession", "Mode", "Model", "Program"]
