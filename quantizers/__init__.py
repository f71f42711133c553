"""Recipes, and everything between a float graph and a file whose numbers are what was planned.

recipe.py, recipe_file.py   what to quantize, as data; support.py: which format honours it
mixture.py                  a recipe chosen within a budget: sensitivity, candidates, allocate
calibration*.py, halves.py  real inputs, where they came from, and whether they are enough
activation_ranges.py, ranges.py, placement.py    which values become integers, over what range
solve.py, fitting.py, rounding.py, palette.py    weights onto grids, layer by layer: a `Plan`
tuning.py, finetuning.py    other methods, and training without labels, on request
static_graph.py             the program that every file should equal
litert_*, pt2e_*, coreml_*  one back-end per format, which stores the plan's own numbers
audit*.py, profiles.py      what a file on disk really holds; noise by layer, damage by weight
"""
