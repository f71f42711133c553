"""Ed25519 signatures checked with integers alone, where no cryptographic library can be had.

RFC 8032 section 5.1 (https://www.rfc-editor.org/rfc/rfc8032#section-5.1): field and curve in
5.1, decoding in 5.1.3, addition of extended coordinates in 5.1.4, verification in 5.1.7. Only
public data passes through here, so running time may depend on it; signing is done elsewhere.

Strict: encodings must be canonical (y < p, and no x = 0 with its sign bit set), S < L, and the
equation is the one without the cofactor, as most libraries check it. A public key of small order,
under which one signature fits many messages, is no key.
"""

from __future__ import annotations

import hashlib

__all__ = ["verify"]

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T: x = X/Z, y = Y/Z, xy = T/Z
NEUTRAL: Point = (0, 1, 1, 0)
X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
Y = 4 * pow(5, -1, P) % P
BASE: Point = (X, Y, 1, X * Y % P)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is that of `message` by the owner of `public_key` (32)."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    key, commitment = _decode(public_key), _decode(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or s >= L or _equal(_multiply(8, key), NEUTRAL):
        return False
    digest = hashlib.sha512(signature[:32] + public_key + message).digest()
    k = int.from_bytes(digest, "little") % L
    return _equal(_multiply(s, BASE), _add(commitment, _multiply(k, key)))


def _add(a: Point, b: Point) -> Point:
    left = (a[1] - a[0]) * (b[1] - b[0]) % P
    right = (a[1] + a[0]) * (b[1] + b[0]) % P
    cross = 2 * a[3] * b[3] * D % P
    depth = 2 * a[2] * b[2] % P
    e, f, g, h = right - left, depth - cross, depth + cross, right + left
    return e * f % P, g * h % P, f * g % P, e * h % P


def _multiply(scalar: int, point: Point) -> Point:
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = _add(total, point)
        point = _add(point, point)
        scalar >>= 1
    return total


def _equal(a: Point, b: Point) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


def _decode(data: bytes) -> Point | None:
    """A point from its 32 bytes, None for bytes that no point has."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_M1 % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P
