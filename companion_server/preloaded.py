"""Imports what the server's processes are made of; nothing is run.

No thread may be started and no operator run here: what is forked afterwards would lack them.
"""

import torch  # noqa: F401
import uvicorn  # noqa: F401

import companion_server.web  # noqa: F401
import exporters.graphfile  # noqa: F401
