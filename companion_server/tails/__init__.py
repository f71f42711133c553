"""Tails: the later parts of bundles' programs, run on this machine by whatever runs them fastest.

    runner.py   TailRunner: load, prove, run groups that enter at different cuts, say what it costs
    chain.py    a program divided at its cuts into segments, which share weights
    proof.py    golden activations in, golden outputs out, or the bundle is not served
    program.py  what a program is to this server

Importing the package imports no torch.
"""

from companion_server.tails.first_executor import TailExecutor
from companion_server.tails.program import LoadProgram, Program, read_program
from companion_server.tails.runner import Group, TailRunner

__all__ = ["Group", "LoadProgram", "Program", "TailExecutor", "TailRunner", "read_program"]
