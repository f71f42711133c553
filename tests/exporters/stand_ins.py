"""What converter processes import in tests of how they are run."""

# Only to save 2 s a process: what the worker needs of torch and of the entry points.
NO_TORCH = """
import sys, types

class EntryPoints:
    graphs, example = {"forward": None}, ()

    @classmethod
    def read(cls, program, heads):
        return cls()

    def prepared(self, target):
        return self, types.SimpleNamespace(applied=(), undone=())

sys.modules["exporters.entries"] = types.SimpleNamespace(EntryPoints=EntryPoints)

def set_num_threads(count):
    pass
"""
