"""Who may talk to this server, and what is remembered of it.

keys.py          API keys: made, hashed, checked, rotated      keyfile.py        their file
scopes.py        verb:model-glob, and whose request it is      private_files.py  0600, atomic
access.py        the one table: every route and its verb       gate.py           who may pass
auth.py          the gate as middleware                        watching.py       a request, audited
rate.py          a token bucket per key                        audit.py          who did what
certificates.py  TLS with a certificate of its own             pairing.py        a phone, by QR
binding.py       loopback, unless there are keys               headers.py        for browsers
routes.py        /v2/pair and /v2/pairing                      refusals.py       401 and 403

What a request names (models, versions, aliases, keys) is looked up in dictionaries built from what
the server holds, and never becomes part of a path. The one exception is the id of a bundle that is
uploaded, which has to be 64 hexadecimal digits before a file is called by it.
"""
