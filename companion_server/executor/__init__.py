"""The executor: a process of its own that runs tails, and the web process's end of the line to it.

    messages.py   what the two say to each other: JSON and raw tensors, framed; no sockets
    serving.py    the executor's side: one connection, requests answered in order
    link.py       the web process's side, on its event loop
    places.py     where an executor is: a thread of this process, or a process behind a socket

A process of its own, because torch holds Python's lock between operators, because a crash in native
code then costs a batch and not the server, and because it can be replaced while connections live.
"""
