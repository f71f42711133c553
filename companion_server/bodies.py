"""Request and response bodies: read with a limit, decompress with a limit.

Content codings are those of RFC 9110 §8.4.1 (https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1):
`gzip`, and `deflate`, which is the zlib format (RFC 1950) and not raw deflate.
"""

from __future__ import annotations

import zlib

from starlette.requests import Request

from headtail.errors import TooLarge, WireFault

__all__ = ["compress", "decompress", "read_body"]

_WBITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_RESPONSE_LEVEL = 1  # activations and logits are nearly noise: more effort buys almost nothing


async def read_body(request: Request, *, limit: int) -> bytes:
    """The raw body. `TooLarge` from the declared length, or as soon as `limit` bytes are passed."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > limit:
        raise _too_large(f"The request declares a body of {int(declared)} bytes.", limit)
    chunks = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(f"The request body is longer than {limit} bytes.", limit)
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decompress(body: bytes, coding: str, *, limit: int) -> bytes:
    """Undo a `Content-Encoding`; never makes more than `limit` + 1 bytes.

    Raises `WireFault` for another coding or a broken or truncated stream, `TooLarge` for a bomb.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in _WBITS:
        raise _broken(f"Content-Encoding is {coding!r}.")
    stream = zlib.decompressobj(_WBITS[coding])
    try:
        plain = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise _broken(f"The body is not {coding}: {error}.") from None
    if len(plain) > limit:
        raise _too_large(f"The {coding} body unpacks to more than {limit} bytes.", limit)
    if not stream.eof or stream.unused_data:
        raise _broken(f"The {coding} body {'has a tail' if stream.eof else 'is truncated'}.")
    return plain


def compress(body: bytes, accept: str) -> tuple[bytes, str]:
    """`(body, coding)`, packed only if `Accept-Encoding` names exactly one coding that we have.

    That is a client asking for it (tritonclient does). A longer list is a habit of its library, and
    packing a few KB of floats would only cost it time. Not packed: coding `""`.
    """
    coding = accept.strip().lower()
    if coding not in _WBITS:
        return body, ""
    packer = zlib.compressobj(_RESPONSE_LEVEL, wbits=_WBITS[coding])
    return packer.compress(body) + packer.flush(), coding


def _too_large(what: str, limit: int) -> TooLarge:
    return TooLarge(
        what,
        expected=f"This server takes at most {limit} bytes, before and after decompression.",
        remedy="Send fewer samples at once, or raise max_body_bytes on the server.",
    )


def _broken(what: str) -> WireFault:
    return WireFault(
        what,
        expected="A body is plain, or one whole gzip or deflate (zlib format) stream.",
        remedy="Send it without Content-Encoding, or as one complete stream.",
    )
