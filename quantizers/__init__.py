"""Recipes, calibration, the three plain back-ends, and the audit that re-reads what they wrote.

    recipe.py        what to quantize, as data        support.py   which format honours which recipe
    calibration.py   real inputs and where they came from; crops of photos
    litert_backend.py    a float .tflite in, a quantized .tflite out (after conversion)
    pt2e_backend.py      exported programs in, quantized programs out (before lowering)
    coreml_backend.py    a Core ML model in, one with compressed weights out (after conversion)
    litert_file.py, coreml_file.py   what further entry points cost, made small
    audit.py             counts the dtypes that a file on disk really holds

Each back-end is its stack's plain path with that stack's defaults; none is tuned.
"""
