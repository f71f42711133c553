"""Tails: the later parts of bundles' programs, run on this machine by whatever runs them fastest.

    runner.py     TailRunner: load, run groups that enter at different cuts, tend, say what it costs
    tail.py       one loaded bundle
    chain.py      a program divided at its cuts into segments, which share weights
    program.py    what a program is to this server
    proof.py      golden activations in, golden outputs out, or the bundle is not served
    measuring.py  milliseconds by segment and number of samples
    memory.py     what this process holds
    backends.py   what can run a segment instead of eager torch
    tuning.py     finds the fastest proven one, while the bundle is served
    workshop.py   starts builders;  builder.py is that process
    built.py      the files they build: code, kept between starts

Importing the package imports no torch.
"""

from companion_server.tails.program import LoadProgram, Program, read_program
from companion_server.tails.runner import TailRunner
from companion_server.tails.tail import Group

__all__ = ["Group", "LoadProgram", "Program", "TailRunner", "read_program"]
