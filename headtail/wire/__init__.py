"""What phone and server say to each other, as pure functions: bytes in, values out, no sockets.

oip.py        Open Inference Protocol v2, JSON and binary tensors
jsondata.py   tensors that stand in the JSON itself
rawdata.py    tensors as raw bytes
stream.py     the messages of the WebSocket stream
split.py      the `split.*` parameters of a split request and its answer
boundary.py   all tensors of one cut in one frame
codecs.py     one tensor to bytes and back
"""
