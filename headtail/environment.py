"""What this machine has and lacks, for `headtail doctor`.

Import names such as `quantizers` and `exporters` are taken on PyPI by other distributions, and pip
overwrites files without a word; a name with two owners is reported as broken, with the culprit.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
from dataclasses import dataclass

from headtail.runtimes import desk_runtimes

__all__ = ["Check", "examine", "name_owners"]

OUR_NAMES = ("headtail", "exporters", "quantizers", "companion_server")
# package -> (import name, what it is for, the extra that installs it)
_OPTIONAL = {
    "torch": ("torch", "capturing models and running tails", "export"),
    "coremltools": ("coremltools", "writing and reading Core ML", "export"),
    "litert-torch": ("litert_torch", "writing LiteRT", "export"),
    "fastapi": ("fastapi", "the companion server", "server"),
    "kivy": ("kivy", "the app on a desk", "app"),
}
_TORCH = "2.13.0"


@dataclass(frozen=True)
class Check:
    """One line of the examination; `severity` is `absent` (optional) or `broken`."""

    name: str
    good: bool
    severity: str
    detail: str


def examine() -> list[Check]:
    """All checks, in the order they are printed."""
    checks = [_python()]
    checks += [_package(name, *facts) for name, facts in _OPTIONAL.items()]
    for runtime in desk_runtimes().values():
        found = runtime.probe()
        detail = found.version or found.reason
        checks.append(Check(f"runtime {runtime.name}", found.available, "absent", detail))
    checks += [_owner(name) for name in OUR_NAMES]
    return checks


def name_owners(name: str) -> list[str]:
    """Distributions that own files under an import name."""
    owners = importlib.metadata.packages_distributions().get(name, [])
    return sorted({owner or "(a distribution without a name)" for owner in owners})


def _python() -> Check:
    good = sys.version_info >= (3, 11)
    return Check("python", good, "broken", f"{platform.python_version()} (3.11 or newer)")


def _package(name: str, module: str, purpose: str, extra: str) -> Check:
    if importlib.util.find_spec(module) is None:
        detail = f"needed for {purpose}: pip install 'headtail[{extra}]'"
        return Check(name, False, "absent", detail)
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        detail = f"something called {module} is on sys.path, but {name} is not installed"
        return Check(name, False, "broken", detail)
    if name == "torch" and version.partition("+")[0] != _TORCH:
        return Check(name, False, "broken", f"{version}; the converters were tried with {_TORCH}")
    return Check(name, True, "absent", f"{version}, for {purpose}")


def _owner(name: str) -> Check:
    owners = [owner for owner in name_owners(name) if owner != "headtail"]
    if owners:
        cure = f"pip uninstall {' '.join(owners)}, then reinstall headtail"
        return Check(
            f"import {name}", False, "broken", f"also owned by {', '.join(owners)}: {cure}"
        )
    return Check(f"import {name}", True, "broken", "ours alone")
