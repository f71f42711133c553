"""How fast every artifact is here, by every runtime: what can be run, the runs, their comparison.

matrix.py     which cells there are, and why others cannot run
measure.py    one cell: load, check against the golden vectors, time
bench.py      looking at bundles and measuring cells, without a screen
records.py    a run as JSON: written, read, the last one of this machine
compare.py    a cell against the same cell of another run
state.py      what the screen shows
wording.py    its words and numbers
presenter.py  choosing, running, cancelling
"""
