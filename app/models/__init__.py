"""The models on this device and those that a companion server offers.

state.py      what the Models page shows, as frozen values
fitness.py    which artifact runs here, and why the others do not
library.py    the folder of installed bundles: list, check, install, delete, quota
catalogue.py  what the server offers, asked by long poll; what it offered last, kept
downloads.py  downloads on a thread of their own: progress, speed, stop
wording.py    the state as words and numbers
presenter.py  gestures in, states out
"""
