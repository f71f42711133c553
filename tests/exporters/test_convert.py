"""Which artifacts are made, and what becomes of converters that fail, crash or say half."""

import threading

import numpy as np
import pytest

from exporters.cache import Cache
from exporters.conversion import Captures, Failure
from exporters.convert import convert_all, plan_conversions
from exporters.kept import Kept
from exporters.processes import Limits
from headtail.errors import UnknownName, UsageFault
from headtail.manifest import Coverage, LeftOver
from headtail.tensors import TensorSpec
from quantizers.calibration import from_arrays
from quantizers.recipe import DEFAULTS
from quantizers.support import supported
from tests.exporters.stand_ins import NO_TORCH

SPEC = TensorSpec("x", "f32", (1, 3))


def calibration():
    return from_arrays([(np.ones((1, 3), np.float32),)], source="test", seed=0)


def test_all_that_the_formats_honour_is_the_default():
    formats = ("litert", "executorch", "coreml")
    pairs, remarks = plan_conversions(formats, (), calibration())
    honoured = {(f, p) for f in formats for p in supported(f) if p in DEFAULTS}
    assert set(pairs) == honoured - {("executorch", "w8")}
    assert plan_conversions(formats, ("w8",), calibration())[0] == [(f, "w8") for f in formats]
    assert remarks == []


def test_without_calibration_nothing_static_is_made_and_it_is_said():
    pairs, remarks = plan_conversions(("litert", "executorch"), (), None)
    assert ("litert", "w8a8") not in pairs
    assert ("executorch", "fp32") in pairs
    (remark,) = remarks
    assert "static activations are left out" in remark


def test_what_nobody_can_solve_for_is_left_out_and_said():
    pairs, remarks = plan_conversions(
        ("coreml", "litert"), ("w8", "w8a8"), calibration(), solved=False
    )
    assert set(pairs) == {("coreml", "w8"), ("litert", "w8"), ("litert", "w8a8")}
    assert remarks == ["coreml w8a8 is left out: its program cannot be solved for"]


def test_what_is_asked_twice_is_made_once():
    pairs, _ = plan_conversions(("litert", "litert"), ("fp32", "fp32"), None)
    assert pairs == [("litert", "fp32")]


def test_no_format_is_refused_before_work():
    with pytest.raises(UsageFault, match=r"At least one of: litert, executorch, coreml"):
        plan_conversions((), ("fp32",), None)


@pytest.mark.parametrize(
    ("formats", "precisions", "fault"),
    [
        (("litret",), (), UnknownName),
        (("litert",), ("int3",), UnknownName),
        (("coreml",), ("w8a8d",), UsageFault),
    ],
)
def test_what_cannot_be_is_refused(formats, precisions, fault):
    with pytest.raises(fault):
        plan_conversions(formats, precisions, calibration())


class Notes:
    """A `Progress` that keeps what is said, by whatever thread."""

    def __init__(self):
        self.lock, self.said = threading.Lock(), []

    def begin(self, stage): ...

    def end(self, stage, seconds): ...

    def note(self, text):
        with self.lock:
            self.said.append(text)


LIBRARY = """
import os, signal
from pathlib import Path
import exporters.litert, exporters.executorch, exporters.coreml
from headtail.manifest import Coverage, LeftOver

def write(job):
    what = os.environ["DOES_" + job.destination.suffix[1:]].split(",")
    did = what[len(list(job.destination.parent.glob("*.pte")) )] if len(what) > 1 else what[0]
    if did == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if did == "fail":
        raise RuntimeError("no such operator: cdist")
    job.destination.write_bytes(b"artifact")
    return Coverage("XNNPACK", 0.5, 1, (LeftOver("aten.roll", "blocks", 2),))

for module in (exporters.litert, exporters.executorch, exporters.coreml):
    module.write = write
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`convert_all` with stand-in converters; processes, requests and events are the real ones.

    The stand-ins replace `write` in the child when it imports torch, which they stand in for too.
    """
    library = tmp_path / "library"
    library.mkdir()
    (library / "torch.py").write_text(NO_TORCH.replace("pass", "import standins"))
    (library / "standins.py").write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", str(library))

    def go(pairs, **does):
        for suffix, what in does.items():
            monkeypatch.setenv(f"DOES_{suffix}", what)
        notes = Notes()
        folder = tmp_path / "work"
        folder.mkdir()
        done, failed = convert_all(
            pairs,
            Captures(tmp_path / "forward.pt2", {}, (SPEC,), None),
            name="net",
            folder=folder,
            progress=notes,
            limits=Limits(),
            cancel=threading.Event(),
            cache=Kept(Cache(tmp_path / "cache"), rebuild=False),
        )
        return folder, done, failed, sorted(notes.said)

    return go


def test_a_crash_takes_its_format_only(run):
    pairs = [("litert", "fp32"), ("litert", "fp16"), ("executorch", "fp32"), ("coreml", "fp32")]
    folder, done, failed, notes = run(pairs, tflite="crash", pte="write", mlpackage="fail")
    assert [(c.format, c.precision) for c in done] == [("executorch", "fp32")]
    assert done[0].path == folder / "executorch" / "net.fp32.pte"
    assert done[0].path.read_bytes() == b"artifact"
    assert done[0].rewrites == {}
    assert done[0].coverage == Coverage("XNNPACK", 0.5, 1, (LeftOver("aten.roll", "blocks", 2),))
    assert [(f.format, f.precision) for f in failed] == [
        ("litert", "fp32"),
        ("litert", "fp16"),
        ("coreml", "fp32"),
    ]
    assert failed[2].reason == "RuntimeError: no such operator: cdist"
    assert "Traceback" in failed[2].log
    # what a crash left undone failed with it
    assert {f.reason for f in failed[:2]} == {"The library's process ended with SIGSEGV."}
    assert len(notes) == 3
    assert notes[0].startswith("coreml fp32 failed: RuntimeError")
    assert notes[1].startswith("executorch fp32 written in ")
    assert notes[2].startswith("litert failed: The library's process")


def test_a_precision_that_fails_leaves_the_others(run):
    pairs = [("executorch", "fp32"), ("executorch", "w8a8")]
    _, done, failed, _ = run(pairs, pte="write,fail")
    assert [c.precision for c in done] == ["fp32"]
    assert [f.precision for f in failed] == ["w8a8"]


def test_what_was_written_before_a_crash_is_kept(run):
    pairs = [("executorch", "fp32"), ("executorch", "w8a8")]
    _, done, failed, _ = run(pairs, pte="write,crash")
    assert [c.precision for c in done] == ["fp32"]
    assert failed == [
        Failure("executorch", "w8a8", "The library's process ended with SIGSEGV.", failed[0].log)
    ]
