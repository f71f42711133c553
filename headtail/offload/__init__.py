"""The phone's side of split inference: stdlib and numpy only.

sockets.py    a socket whose every operation ends by one deadline
link.py       one kept-alive HTTP/1.1 connection
pinning.py    a server known by its certificate
pairing.py    what a pairing code says
refusals.py   a server's error status back to an error of the tree
client.py     Companion: what the server can be asked for
tailcalls.py  a split request and its answer as messages
websocket.py  a WebSocket client over a connected socket
stream.py     StreamCompanion: the same over a WebSocket, where a late request is cancelled
download.py   a bundle, resumed and checked
breaker.py    when to leave a failing server alone; pure
engine.py     SplitEngine: every frame answered within its deadline, by the server or here
"""
