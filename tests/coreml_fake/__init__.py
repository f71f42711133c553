"""A stand-in for Apple's Core ML framework under GNUstep, so that `ios/*.m` compile and run here.

It has Core ML's objects, errors and memory, and no arithmetic: that comes from the test, which is
numpy, or the reference interpreter of Core ML programs (`exporters.mil`).
"""
