"""The same application past one machine: tails as replicas on a Ray cluster, under Ray Serve.

    launch.py    serve_on_ray: join or start a cluster, deploy, announce, wait for a signal
    options.py   how many replicas, and what may wait for them
    ingress.py   the deployment that holds the ASGI application, on the machine that serves
    engine.py    RayEngine: jobs to replicas; back-pressure, deadlines and dead nodes as statuses
    refusals.py  what it says then
    tail.py      the deployment of replicas: TailRunner behind Ray Serve's batches and multiplexing
    library.py   the actor from which replicas take bundles by their id

    phone --> Ray's HTTP proxy --> ingress --> any replica, on any node
                                      └------> library --(object store)--> replica without a bundle

Bundles reach a node through Ray's object store, as the zip that phones download too: no shared
folder is needed. A replica checks the zip's SHA-256 and opens it as any stranger's bundle, every
file hashed against the manifest and the manifest against the bundle's id, then proves it on golden
activations. It is unpacked in a temporary folder, which goes when it is loaded or, where tails are
tuned, when it is unloaded.

Between our processes go numbers, strings and numpy arrays only. Ray carries them, and our classes,
with its own cloudpickle, so whoever may speak to a cluster may run code on it: give it a private
network and Ray's token (`RAY_AUTH_MODE=token`). We pickle nothing, to disk or to a client.

Importing the package imports neither ray nor torch.
Source: https://docs.ray.io/en/latest/serve/index.html
"""

from companion_server.ray_serve.engine import RayEngine
from companion_server.ray_serve.launch import serve_on_ray
from companion_server.ray_serve.options import ClusterOptions

__all__ = ["ClusterOptions", "RayEngine", "serve_on_ray"]
