"""The models on this device and those that a companion server offers.

state.py      what the Models page shows, as frozen values
fitness.py    which artifact runs here, and why the others do not
library.py    the folder of installed bundles: list, check, install, delete, quota
shelves.py    from what lies in the folder to the cards of it
catalogue.py  what the server offers, asked by long poll; what it offered last, kept
following.py  the server that is followed while somebody looks
downloads.py  downloads on a thread of their own: progress, speed, stop
lane.py       jobs on one thread, in turn
views.py      what a card says, without a screen
wording.py    the cards; notices.py what stands over and in place of them; phrases.py figures
viewer.py     where a bundle is used
presenter.py  gestures in, states out
"""
