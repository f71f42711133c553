"""The bundles this server holds, and the folder in which published ones are kept.

    registry.py   BundleStore: bundles by id, versions and aliases of a model
    packed.py     StoredBundle: one bundle, verified, and packed for download
    sources.py    what a path on the command line means: bundles, a folder of them, a store
    lifecycle.py  upload -> check -> load -> serve -> unload -> remove, beside an engine
    uploads.py    uploads under way, in pieces
    changes.py    who waits for a change
    folder.py     the store's folder: staging, atomic publication, removal, what a crash left
    aliases.py    names for versions (`prod`, `canary`, `latest`), in one file replaced atomically
    faults.py     errors that only a store has

    ROOT/bundles/<bundle_id>.bundle/   published bundles, each a bundle folder like any other
    ROOT/incoming/                     uploads and removals under way; nothing in it is served
    ROOT/aliases.json                  {"aliases": {model: {alias: bundle_id}}, "schema_version": 1}
    ROOT/.lock                         held by the one server that may write here

Content addressed: a bundle is known by its `bundle_id` and by nothing else. Requests are answered
from dictionaries, and the only text of a request that becomes part of a path is a `bundle_id` of 64
hexadecimal digits. Nothing here imports FastAPI or torch.
"""

from companion_server.store.lifecycle import Lifecycle
from companion_server.store.packed import StoredBundle
from companion_server.store.registry import BundleStore, StoreRules

__all__ = ["BundleStore", "Lifecycle", "StoreRules", "StoredBundle"]
