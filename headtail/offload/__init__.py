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
policy.py     what a person allows, and what was decided
options.py    where a loaded model can be cut, and what a frame then weighs
estimator.py  what the link is like, by the messages that crossed it; pure
learning.py   what both ends' times are; pure
experience.py what one engine has seen, as the situation that it decides in
planner.py    from a situation to a decision; pure
trace.py      decisions with their situations, to be decided again
answers.py    one frame and its answer
courier.py    one message at a time, on its own thread
engine.py     OffloadEngine: every frame answered within its deadline, by the server or here
"""
