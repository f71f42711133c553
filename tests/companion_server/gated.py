"""A tail's program that can be held: what it is asked to compute waits until the gate opens."""

import threading

from companion_server.tails import read_program


class Gated:
    """`load` is a `LoadProgram`; the gate is open until `hold` and again after `release`."""

    def __init__(self):
        self.reached = threading.Event()  # a held computation has begun
        self.runs = []  # the number of samples of each run of the model's end
        self._open = threading.Event()
        self._open.set()

    def hold(self):
        self.runs.clear()
        self.reached.clear()
        self._open.clear()

    def release(self):
        self._open.set()

    def load(self, *paths):
        return _Program(read_program(*paths), self)

    def enter(self, samples):
        self.runs.append(samples)
        self.reached.set()
        assert self._open.wait(30)


class _Program:
    def __init__(self, program, gate):
        self._program, self._gate = program, gate

    def __getattr__(self, name):
        return getattr(self._program, name)

    def enter(self, boundary, **options):
        module = self._program.enter(boundary, **options)
        if options.get("until") is None:  # to the outputs: every job comes through here, once
            module.register_forward_pre_hook(lambda _, values: self._gate.enter(len(values[0])))
        return module
