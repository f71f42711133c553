"""Set-up of the peers that `benchmarks/server.py` compares with, each in a virtualenv of its own.

    python benchmarks/peers/install.py            # build/peers/litserve, build/peers/mlserver

Their pins conflict with Headtail's, so they cannot share its environment. torch is large, and all
arms must run the very same one: a `.pth` file puts the site-packages of the Python that runs this
script *behind* the peer's own. pip then installs what the peer pins otherwise and takes the rest,
torch above all, from there. What was used in the end stands in the result, by `installed`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ("litserve", "mlserver")
PACKAGES = (
    *("fastapi", "grpcio", "litserve", "mlserver", "numpy", "orjson"),
    *("starlette", "torch", "uvicorn", "uvloop"),
)
_ASK = """
import importlib.metadata as metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def python_of(peer: str) -> Path:
    """The interpreter of a peer's virtualenv."""
    return ROOT / "build" / "peers" / peer / "bin" / "python"


def installed(peer: str) -> dict[str, str]:
    """Versions of the packages that matter, as the peer's own interpreter finds them."""
    command = [str(python_of(peer)), "-c", _ASK, *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def install(peer: str) -> None:
    """Make the virtualenv anew and install the peer's requirements."""
    folder = ROOT / "build" / "peers" / peer
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    base = sysconfig.get_path("purelib")
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "lib" / name / "site-packages" / "behind.pth").write_text(f"{base}\n")
    requirements = Path(__file__).with_name(f"{peer}.txt")
    command = [str(python_of(peer)), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
    subprocess.run(command, check=True)


def main() -> int:
    """Install every peer and say what came out."""
    for peer in PEERS:
        install(peer)
        print(peer, json.dumps(installed(peer)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
