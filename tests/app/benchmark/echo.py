"""A stand-in for a runtime: it answers golden inputs with their golden outputs, `change`d.

What is tested with it is the benchmark, which sees a runtime through its interface alone.
"""

from __future__ import annotations

from headtail.bundle import open_bundle
from headtail.errors import IntegrityFault
from headtail.golden import GoldenSet
from headtail.runtimes.base import Capability, check_accelerator


class EchoRuntime:
    """`bundles` are folders whose golden vectors it knows; `reason` makes it unavailable."""

    def __init__(self, *bundles, change=lambda array: array, **facts):
        self._bundles = [open_bundle(path) for path in bundles]
        self._change = change
        self._reason = facts.get("reason", "")
        self.name = facts.get("name", "echo")
        self.format = facts.get("format", "litert")
        self.timing_kind = facts.get("timing_kind", "host")
        self.accelerators = facts.get("accelerators", ("cpu",))
        self.loads = []  # (file, threads, accelerator)
        self.open = 0
        self.on_run = lambda: None

    def probe(self):
        return Capability(not self._reason, "" if self._reason else "9.9", self._reason)

    def load(self, path, *, entries, threads=1, accelerator="cpu"):
        check_accelerator(self, accelerator)
        self.loads.append((path.name, threads, accelerator))
        bundle = next(b for b in self._bundles if b.path in path.parents)
        if path.stat().st_size == 0:
            raise IntegrityFault("Empty.", file=path.name, expected="A file.", remedy="Export it.")
        self.open += 1
        return EchoSession(self, GoldenSet(bundle), self._change)


class EchoSession:
    def __init__(self, runtime, golden, change):
        self._runtime, self._golden, self._change = runtime, golden, change
        self._samples = {
            golden.inputs(i)[0].tobytes(): i for i in range(golden.count)
        }  # of a bundle the inputs differ

    def entry_points(self):
        return [e.name for e in self._golden.bundle.manifest.artifacts[0].entries]

    def inputs(self, entry):
        return self._golden.bundle.manifest.artifacts[0].entry(entry).inputs

    def outputs(self, entry):
        return self._golden.bundle.manifest.artifacts[0].entry(entry).outputs

    def run(self, entry, inputs):
        self._runtime.on_run()
        sample = self._samples[inputs[0].tobytes()]
        described = self._golden.bundle.manifest.artifacts[0].entry(entry)
        return [self._change(array.copy()) for array in self._golden.expected(described, sample)]

    def memory_bytes(self):
        return 4096

    def close(self):
        self._runtime.open -= 1
