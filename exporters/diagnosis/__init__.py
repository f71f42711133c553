"""Why a model does not convert, and where an artifact goes wrong.

`check` looks every operator up before anything is converted; `explain` lists all that a converter
lacks after it stopped at the first; `bisect` finds the first module whose output disagrees, or that
does not convert, and writes a reproduction.
"""

from exporters.diagnosis.bisection import Bisection, bisect, bisect_all
from exporters.diagnosis.checking import CheckReport, TargetCheck, check, explain
from exporters.diagnosis.finding import Finding
from exporters.diagnosis.probing import Probe
from exporters.diagnosis.rebuilding import graph_of_bundle
from exporters.diagnosis.support import support_table

__all__ = [
    "Bisection",
    "CheckReport",
    "Finding",
    "Probe",
    "TargetCheck",
    "bisect",
    "bisect_all",
    "check",
    "explain",
    "graph_of_bundle",
    "support_table",
]
