"""Fashion-MNIST from disk: 60,000 training and 10,000 test pictures of clothes, with labels.

Xiao et al., https://arxiv.org/abs/1708.07747; the files are those of the Debian package
`dataset-fashion-mnist`, in the IDX format of http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from headtail.errors import IntegrityFault, MissingDependency

__all__ = ["CLASSES", "FOLDER", "SIDE", "Bytes", "normalised", "parse_idx", "read_set"]

Bytes = npt.NDArray[np.uint8]
FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip
SIDE = 28
# Of the training pictures as shares of 255.
MEAN, DEVIATION = 0.286, 0.353
_UNSIGNED_BYTE = 0x08


def parse_idx(data: bytes, *, name: str, rank: int) -> Bytes:
    """The uint8 array of `rank` axes that an IDX file holds.

    Two zero bytes, the type (only unsigned bytes here), the number of axes, each axis' length as a
    big-endian uint32, then the elements. Raises `IntegrityFault`, which names the file, for
    anything else and for a length that is not the one that the axes say.
    """
    wanted = bytes([0, 0, _UNSIGNED_BYTE, rank])
    if data[:4] != wanted:
        raise _refused(name, f"begins with {data[:4].hex() or 'nothing'}", f"{wanted.hex()}")
    start = 4 + 4 * rank
    if len(data) < start:
        raise _refused(name, f"ends after {len(data)} bytes", f"{start} bytes before the elements")
    shape = struct.unpack(f">{rank}I", data[4:start])
    if len(data) - start != math.prod(shape):
        axes = " x ".join(str(size) for size in shape)
        raise _refused(name, f"has {len(data) - start} elements", f"{axes} of them")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_set(which: str, folder: Path = FOLDER) -> tuple[Bytes, Bytes]:
    """Pictures (n, 28, 28) and labels (n,), both uint8, of `which` set: `train` or `t10k`."""
    pictures = _read(folder / f"{which}-images-idx3-ubyte.gz", 3)
    labels = _read(folder / f"{which}-labels-idx1-ubyte.gz", 1)
    if pictures.shape[1:] != (SIDE, SIDE) or len(pictures) != len(labels):
        found = " x ".join(str(size) for size in pictures.shape)
        raise _refused(
            which, f"has pictures {found} and {len(labels)} labels", "28 x 28 and as many"
        )
    if labels.size and labels.max() >= len(CLASSES):
        raise _refused(which, f"has the label {labels.max()}", f"at most {len(CLASSES) - 1}")
    return pictures, labels


def normalised(pictures: Bytes) -> npt.NDArray[np.float32]:
    """(n, 28, 28) bytes as the networks take them: float32 (n, 1, 28, 28)."""
    shares = pictures[:, None].astype(np.float32) / 255
    return ((shares - np.float32(MEAN)) / np.float32(DEVIATION)).astype(np.float32)


def _read(path: Path, rank: int) -> Bytes:
    if not path.is_file():
        raise MissingDependency(
            "dataset-fashion-mnist",
            needed_for=f"labelled pictures, {path.name} among them",
            install="apt-get install dataset-fashion-mnist",
        )
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise _refused(path.name, f"is no gzip file ({error})", "a whole one") from error
    return parse_idx(data, name=path.name, rank=rank)


def _refused(name: str, found: str, wanted: str) -> IntegrityFault:
    return IntegrityFault(
        f"{name} {found}.",
        file=name,
        expected=f"It should be {wanted}.",
        remedy="Install the package dataset-fashion-mnist again.",
    )
