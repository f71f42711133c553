"""What every session must do, whatever its format and runtime; one module per adapter calls these.

`CHECKS` take a runtime and an artifact of its format, made of `tests.exporters.converted.Ordered`
in this process or another.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from headtail.errors import IntegrityFault, TensorMismatch, UnknownName, UsageFault
from headtail.metrics import snr_db
from headtail.runtimes import Runtime, Session
from headtail.runtimes.base import Entries
from headtail.tensors import Array, TensorSpec


class Made(Protocol):
    """An artifact and what PyTorch says of it."""

    @property
    def path(self) -> Path: ...

    @property
    def entries(self) -> Entries: ...

    @property
    def inputs(self) -> Sequence[Array]: ...

    def expected(self, entry: str) -> Sequence[Array]: ...


def load(runtime: Runtime, made: Made) -> Session:
    """The whole artifact, on the CPU."""
    return runtime.load(made.path, entries=made.entries)


def check_what_it_says_of_itself(runtime: Runtime, made: Made) -> None:
    session = load(runtime, made)
    assert list(session.entry_points()) == ["forward", "head_conv", "head_mean"]
    for entry, (inputs, outputs) in made.entries.items():
        assert session.inputs(entry) == tuple(inputs)
        assert session.outputs(entry) == tuple(outputs)
    for ask in (session.inputs, session.outputs):
        with pytest.raises(UnknownName, match=r"head_cnv.*Did you mean 'head_conv'"):
            ask("head_cnv")
    loaded = session.memory_bytes()
    assert loaded is None or loaded >= 0
    session.run("forward", made.inputs)
    run = session.memory_bytes()
    assert (run is None) == (loaded is None)
    assert (run or 0) >= (loaded or 0)
    session.close()


def check_right_results(runtime: Runtime, made: Made) -> None:
    """Every entry point says what PyTorch says, and says it again."""
    session = load(runtime, made)
    for entry in [*made.entries, *made.entries]:
        for right, seen in zip(made.expected(entry), session.run(entry, made.inputs), strict=True):
            assert seen.dtype == right.dtype
            assert snr_db(reference=right, candidate=seen) > 100, entry
    session.close()


def check_unknown_accelerator(runtime: Runtime, made: Made) -> None:
    assert runtime.accelerators[0] == "cpu"
    assert set(runtime.accelerators) <= {"cpu", "gpu", "npu"}
    with pytest.raises(UnknownName, match=r"accelerator of .*'tpu'.*Known: .*cpu"):
        runtime.load(made.path, entries=made.entries, accelerator="tpu")


def check_wrong_inputs(runtime: Runtime, made: Made) -> None:
    """Another number, dtype or shape is a `TensorMismatch`, and the session still works."""
    session = load(runtime, made)
    zeta, alpha, middle = made.inputs
    for wrong, words in (
        ([zeta, alpha], "2 tensors were given"),
        ([zeta, alpha, middle.astype(np.float64)], "'middle' is float64"),
        (
            [zeta, alpha[:, :5], middle],
            r"'alpha' is float32\[1, 5\].*float32\[1,6\]|float32\[1, 6\]",
        ),
        ([alpha, zeta, middle], "'zeta' is float32"),
    ):
        with pytest.raises(TensorMismatch, match=words):
            session.run("forward", wrong)
    assert len(session.run("forward", made.inputs)) == 3
    session.close()


def check_inputs_are_left_alone(runtime: Runtime, made: Made) -> None:
    """Read-only and strided inputs are taken, and none is written to."""
    session = load(runtime, made)
    expected = session.run("forward", made.inputs)
    strided = [np.repeat(array, 2, axis=-1)[..., ::2] for array in made.inputs]
    assert not strided[0].flags.c_contiguous
    for array in strided:
        array.flags.writeable = False
    given = session.run("forward", strided)
    for right, seen in zip(expected, given, strict=True):
        np.testing.assert_array_equal(right, seen)
    for before, after in zip(made.inputs, strided, strict=True):
        np.testing.assert_array_equal(before, after)
    session.close()


def check_results_are_the_callers(runtime: Runtime, made: Made) -> None:
    """A result is not overwritten by the next run, nor by another entry point's."""
    session = load(runtime, made)
    first = session.run("forward", made.inputs)
    kept = [array.copy() for array in first]
    session.run("forward", [array * 3 for array in made.inputs])
    session.run("head_conv", [array * 5 for array in made.inputs])
    for right, seen in zip(kept, first, strict=True):
        np.testing.assert_array_equal(right, seen)
        assert seen.flags.writeable
    session.close()


def check_unknown_entry(runtime: Runtime, made: Made) -> None:
    session = load(runtime, made)
    with pytest.raises(UnknownName, match=r"head_cnv.*Did you mean 'head_conv'"):
        session.run("head_cnv", made.inputs)
    session.close()


def check_entry_the_manifest_lacks(runtime: Runtime, made: Made) -> None:
    """A method of the file that nobody described cannot be run."""
    known = {"forward": made.entries["forward"]}
    session = runtime.load(made.path, entries=known)
    with pytest.raises(UnknownName):
        session.run("head_conv", made.inputs)
    session.close()


def check_closed(runtime: Runtime, made: Made) -> None:
    session = load(runtime, made)
    session.close()
    session.close()
    with pytest.raises(UsageFault, match="is closed"):
        session.run("forward", made.inputs)


def check_another_manifest(runtime: Runtime, made: Made) -> None:
    """Counts that do not fit are told when the file is loaded; shapes when it is run."""
    inputs, outputs = made.entries["forward"]
    for entry in ((inputs[:2], outputs), (inputs, outputs[:1])):
        with pytest.raises(TensorMismatch, match="do not belong together"):
            runtime.load(made.path, entries={"forward": entry})
    turned = tuple(reversed(outputs))
    session = runtime.load(made.path, entries={"forward": (inputs, turned)})
    with pytest.raises(TensorMismatch):
        session.run("forward", made.inputs)
    flat = (TensorSpec("output_0", "f32", (3,)), *outputs[1:])  # same size, another shape
    session = runtime.load(made.path, entries={"forward": (inputs, flat)})
    with pytest.raises(TensorMismatch, match=r"output_0"):
        session.run("forward", made.inputs)
    session.close()


def check_broken_files(runtime: Runtime, made: Made, folder: Path) -> None:
    data = made.path.read_bytes()
    cases = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "text": b"not a model at all" * 100,
        "magic": data[:4] + b"XXXX" + data[8:],
    }
    for name, content in cases.items():
        path = folder / f"{name}{made.path.suffix}"
        path.write_bytes(content)
        with pytest.raises(IntegrityFault, match=path.name) as caught:
            runtime.load(path, entries=made.entries)
        assert caught.value.file == path.name
    with pytest.raises(IntegrityFault, match="absent"):
        runtime.load(folder / f"absent{made.path.suffix}", entries={})


def check_two_sessions(runtime: Runtime, made: Made) -> None:
    """Neither the results nor the end of one session disturb another."""
    first, second = load(runtime, made), load(runtime, made)
    before = first.run("forward", made.inputs)
    second.run("forward", [array * 3 for array in made.inputs])
    second.close()
    for right, seen in zip(before, first.run("forward", made.inputs), strict=True):
        np.testing.assert_array_equal(right, seen)
    first.close()


def check_another_thread(runtime: Runtime, made: Made) -> None:
    """The app loads, runs and closes on its inference thread."""

    def whole_life() -> list[Array]:
        session = load(runtime, made)
        try:
            return session.run("forward", made.inputs)
        finally:
            session.close()

    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(whole_life).result()
    for right, array in zip(made.expected("forward"), seen, strict=True):
        assert snr_db(reference=right, candidate=array) > 100


CHECKS = (
    check_what_it_says_of_itself,
    check_right_results,
    check_unknown_accelerator,
    check_wrong_inputs,
    check_inputs_are_left_alone,
    check_results_are_the_callers,
    check_unknown_entry,
    check_entry_the_manifest_lacks,
    check_closed,
    check_another_manifest,
    check_two_sessions,
    check_another_thread,
)
