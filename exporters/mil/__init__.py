"""A reference interpreter for Core ML ML programs: what a saved .mlpackage computes, off a Mac.

It reads the files itself and evaluates them with PyTorch as the MIL specification says. That shows
what is in the file; it does not show what Apple's compiler, GPU or Neural Engine make of it. All
operators of iOS13 to iOS18 are known. Random ones cannot draw Apple's numbers.

Predict by names, as Core ML does (dict of arrays, PIL images for image inputs, in and out):

    model = Model(Path("net.mlpackage"))
    answer = model.predict({"image": array})

Or by position, with torch tensors, seeing every intermediate value:

    program = Program(Path("net.mlpackage"))
    function = program.function("main")      # program.functions lists them, the default one first
    (logits,) = function.run([image], mode=Mode.FP32, watch=lambda name, value: ...)

`Mode.DECLARED`, the default, rounds every result to its declared type, so that float16 loss and
overflow show; `Mode.FP32` keeps activations in float32. A function with states takes
`state=function.new_state()`, which runs change. `compare` (`exporters.mil.comparison`) tells
whether a float16 or compressed package is the same program as the float32 one.

Errors, of `headtail.errors`: `IntegrityFault` for a file that is damaged or declares other shapes
or dtypes than its operators give, or whose inputs do not fit each other; `ConversionFailed` names
every operator and input that is not supported, for the whole program at once; `TensorMismatch` for
inputs that a function does not take; `UnknownName` for a function that is not there.

`package.py` reads the files, `values.py` types and constants, `reading.py` and `program.py` the
program, `evaluation.py` computes it with the operators of `ops_*.py`, which cite the pages that
define them; `runtime.py` is the adapter that the rest of Headtail uses.
"""

from exporters.mil.evaluation import Function, Mode, Program
from exporters.mil.prediction import Model
from exporters.mil.runtime import MilRuntime, MilSession

__all__ = ["Function", "MilRuntime", "MilSession", "Mode", "Model", "Program"]
