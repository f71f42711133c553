"""The bundles that are served, by id and by model; what changes them and what it may not do.

Every change replaces a mapping by another, so readers on any thread see the state before or after
it; changes wait for one another.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from companion_server.security.scopes import sees
from companion_server.store.aliases import LATEST, Aliases, check_alias
from companion_server.store.changes import Changes
from companion_server.store.faults import StoreConflict
from companion_server.store.folder import StoreFolder, is_bundle_id
from companion_server.store.packed import StoredBundle, pack
from companion_server.store.sources import survey
from headtail.bundle import Bundle, open_bundle
from headtail.bundle.reading import integrity
from headtail.bundle.signature import check_trusted, is_public_key
from headtail.errors import BundleMismatch, HeadtailError, IntegrityFault, UnknownName, UsageFault

__all__ = ["BundleStore", "StoreRules"]

log = logging.getLogger(__name__)
Allow = Callable[[str], None]


@dataclass(frozen=True)
class StoreRules:
    """What a store may hold.

    `trusted_keys` are Ed25519 public keys in hex; with any, every bundle has to be signed by one of
    them. `quota_bytes` bounds the store's folder, uploads included; None means the disk does.
    `read_only` is for processes beside the one that owns the store.
    """

    trusted_keys: tuple[str, ...] = ()
    quota_bytes: int | None = None
    read_only: bool = False

    def __post_init__(self) -> None:
        for key in self.trusted_keys:
            if not is_public_key(key):
                raise UsageFault(
                    f"Trusted key {key[:80]!r} is no Ed25519 public key.",
                    expected="32 bytes as 64 lower-case hexadecimal digits.",
                    remedy="Use what `headtail sign` printed as the public key.",
                )

    def check(self, bundle: Bundle) -> None:
        """Raise `IntegrityFault` for a bundle that may not be held."""
        if self.trusted_keys:
            check_trusted(bundle, self.trusted_keys)


class BundleStore:
    """Bundles by id, and by model name and alias.

    `faults` says which bundles are not served and why: their files changed, or their tails are
    wrong. The store takes new bundles if `folder` is not None. `changes` tells who waits for one.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        rules: StoreRules | None = None,
        root: Path | None = None,
    ) -> None:
        """Open, verify and pack every bundle at `paths`; `sources.py` says what a path may be.

        `root` is the store's folder if no folder is among them; it is made when it is needed. A
        bundle given twice is held once. Raises what `open_bundle` raises for a path given, above
        all `IntegrityFault`; a published bundle that is not what it was becomes one of `faults`.
        """
        found = survey(paths)
        self.rules = rules or StoreRules()
        self.folder: StoreFolder | None = None
        self.faults: Mapping[str, HeadtailError] = {}
        self.changes = Changes()
        self._bundles: dict[str, StoredBundle] = {}
        self._models: dict[str, str] = {}
        self._changing = threading.Lock()
        self._aliases = Aliases.none()
        try:
            if folder := found.root or root:
                self._open_folder(folder)
            for path in found.bundles:
                bundle = open_bundle(path, check=False)
                if bundle.manifest.bundle_id not in self._bundles:
                    self.rules.check(bundle)
                    self._bundles[bundle.manifest.bundle_id] = pack(bundle)
                    self._models[bundle.manifest.bundle_id] = bundle.manifest.name
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the packed copies back, and the folder to the next process."""
        for stored in self._bundles.values():
            stored.zip_file.close()
        if self.folder is not None:
            self.folder.close()

    @property
    def bundles(self) -> Mapping[str, StoredBundle]:
        """Bundle id -> bundle: published ones by age, then those given, in their order."""
        return self._bundles

    def bundle(self, bundle_id: str) -> StoredBundle:
        """The bundle of an id; `UnknownName` lists `visible`, a fault is raised as it is."""
        if bundle_id in self.faults:
            # one exception for many requests: each raising would add to its traceback
            raise self.faults[bundle_id].with_traceback(None)
        if bundle_id not in self._bundles:
            raise UnknownName("bundle", bundle_id, self.visible)
        return self._bundles[bundle_id]

    @property
    def visible(self) -> dict[str, str]:
        """Bundle id -> model, of the models that the caller may know of."""
        return {key: held.model for key, held in self._bundles.items() if sees(held.model)}

    def versions(self, model: str) -> list[StoredBundle]:
        """Every bundle of a model, the newest last; `UnknownName` lists those of `visible`."""
        found = [stored for stored in self._bundles.values() if stored.model == model]
        if not found:
            raise UnknownName("model", model, set(self.visible.values()))
        return found

    def version(self, model: str, version: str = "") -> StoredBundle:
        """One bundle of a model: by its id, by an alias, or the latest.

        Raises `UnknownName` for a model that is not held and `BundleMismatch` for a version.
        """
        if version in self.faults and self._models.get(version, model) == model:
            raise self.mismatch(
                model, f"Bundle {version} is withdrawn: {self.faults[version].what}"
            )
        found = {stored.bundle_id: stored for stored in self.versions(model)}
        bundle_id = version if is_bundle_id(version) else self.aliases(model).get(version or LATEST)
        if bundle_id in found:
            return found[bundle_id]
        raise self.mismatch(model, f"Bundle {version[:80]!r} of model {model!r} is not held.")

    def aliases(self, model: str) -> dict[str, str]:
        """Alias -> bundle id. `latest` is always among them for a model that is held."""
        names = dict(self._aliases.of(model))
        held = [stored.bundle_id for stored in self._bundles.values() if stored.model == model]
        if held and names.get(LATEST) not in held:
            names[LATEST] = held[-1]
        return names

    def mismatch(self, model: str, what: str) -> BundleMismatch:
        """A 409 that lists the bundles held of `model`, each with its cuts."""
        found = [stored.bundle.manifest for stored in self._bundles.values()]
        held = {m.bundle_id: [cut.id for cut in m.cuts] for m in found if m.name == model}
        listed = "; ".join(f"{key} (cuts: {', '.join(cuts)})" for key, cuts in held.items())
        return BundleMismatch(
            what,
            held=held,
            expected=f"Held: {listed or 'no bundle of this model'}.",
            remedy="Download a held bundle from /v2/bundles, or answer on the device.",
        )

    def model_of(self, bundle_id: str) -> str | None:
        """The model of a bundle that is or was held by this process; None for others."""
        return self._models.get(bundle_id)

    def stage(self, archive: Path, bundle_id: str, allow: Allow) -> StoredBundle:
        """Check `archive` and move it into the folder; it is served only after `add`.

        `allow` is asked with the model's name, and raises if its sender may not publish that.
        Blocks; any thread. Raises what `StoreFolder.staged` raises. The archive is gone then.
        """
        folder = self.writable()
        with folder.staged(archive, bundle_id) as staged:
            allow(staged.manifest.name)
            self.rules.check(staged)
            archive.unlink(missing_ok=True)  # its room is that of the packed copy
            stored = pack(staged, published=True, folder=folder.incoming)
            stored.bundle = folder.publish(staged)
            return stored

    def add(self, stored: StoredBundle) -> None:
        """Serve a staged bundle from now on, as the latest version of its model."""
        with self._changing:
            aliases = self._aliases.changed(stored.model, LATEST, stored.bundle_id)
            aliases.write(self.writable().aliases)
            self.faults = {key: e for key, e in self.faults.items() if key != stored.bundle_id}
            self._models[stored.bundle_id] = stored.model
            self._bundles = {**self._bundles, stored.bundle_id: stored}
            self._aliases = aliases
        self.changes.announce()

    def withdraw(self, bundle_id: str, fault: HeadtailError) -> None:
        """Serve a bundle no longer, because of `fault`; its files stay where they are."""
        log.error("Bundle %s was withdrawn. %s", bundle_id, fault)
        with self._changing:
            self.faults = {**self.faults, bundle_id: fault}
            self._bundles = {key: held for key, held in self._bundles.items() if key != bundle_id}
        self.changes.announce()

    def remove(self, bundle_id: str) -> None:
        """Serve a published bundle no longer; its files go with `discard`.

        Raises `UnknownName`, and `StoreConflict` if it has to stay.
        """
        with self._changing:
            self._check_removable(bundle_id)
            self.faults = {key: fault for key, fault in self.faults.items() if key != bundle_id}
            self._bundles = {key: held for key, held in self._bundles.items() if key != bundle_id}
        self.changes.announce()

    def discard(self, bundle_id: str) -> None:
        """Delete the files of a bundle that is not served. Blocks; any thread."""
        self.writable().discard(bundle_id)

    def set_alias(self, model: str, alias: str, bundle_id: str | None) -> None:
        """Point `alias` to a bundle of `model`, or remove it if that is None; atomic.

        Raises `UsageFault` for a name that cannot be one, `UnknownName` for a model or an alias to
        be removed, `BundleMismatch` for a bundle that is not served, `StorageFull`.
        """
        check_alias(alias)
        folder = self.writable()
        folder.prepare()
        with self._changing:
            self._check_target(model, alias, bundle_id)
            aliases = self._aliases.changed(model, alias, bundle_id)
            aliases.write(folder.aliases)
            self._aliases = aliases
        self.changes.announce()

    def writable(self) -> StoreFolder:
        """The folder for what is published; `StoreConflict` if there is none."""
        if self.folder is None:
            raise StoreConflict(
                "This server was given bundles, and no folder to keep others in.",
                expected="A server that takes bundles is given a store's folder.",
                remedy="Start it as `headtail serve DIR`, where DIR holds bundles or is empty.",
            )
        return self.folder

    def _check_removable(self, bundle_id: str) -> None:
        self.writable()
        if bundle_id in self.faults:
            return
        stored = self.bundle(bundle_id)
        if not stored.published:
            raise StoreConflict(
                f"Bundle {bundle_id} was given by its path, as {stored.bundle.path.name}.",
                expected="Published bundles can be removed.",
                remedy="Start the server without it.",
            )
        pointing = {a for a, key in self._aliases.of(stored.model).items() if key == bundle_id}
        if names := sorted(pointing - {LATEST}):
            raise StoreConflict(
                f"{' and '.join(names)} of {stored.model!r} point to bundle {bundle_id}.",
                expected="A bundle is removed when no alias but `latest` points to it.",
                remedy="Point the aliases elsewhere first.",
            )

    def _check_target(self, model: str, alias: str, bundle_id: str | None) -> None:
        if bundle_id is None:
            if alias not in self._aliases.of(model):
                raise UnknownName(f"alias of {model}", alias, self._aliases.of(model))
        elif not is_bundle_id(bundle_id):
            raise self.mismatch(model, f"{bundle_id[:80]!r} is no bundle's id.")
        else:
            self.version(model, bundle_id)

    def _open_folder(self, root: Path) -> None:
        self.folder = StoreFolder(root, read_only=self.rules.read_only)
        self._aliases = Aliases.read(self.folder.aliases)
        for bundle_id, path in self.folder.held():
            try:
                self._bundles[bundle_id] = self._open_published(bundle_id, path)
            except (IntegrityFault, UsageFault) as fault:  # UsageFault: emptied, or another schema
                self.withdraw(bundle_id, fault)

    def _open_published(self, bundle_id: str, path: Path) -> StoredBundle:
        bundle = open_bundle(path, check=False)
        if bundle.manifest.bundle_id != bundle_id:
            raise integrity(path.name, f"holds bundle {bundle.manifest.bundle_id}", "Its own.")
        self._models[bundle_id] = bundle.manifest.name
        self.rules.check(bundle)
        return pack(bundle, published=True)
