"""Against the vectors of RFC 8032 and against the `cryptography` library."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headtail.bundle.ed25519 import BASE, D, L, P, verify

# RFC 8032 section 7.1: public key, message, signature
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (  # SHA(abc): the message is a hash
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
ORDER_8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
SMALL = ["01" + 31 * "00", "00" * 32, "ec" + 30 * "ff" + "7f", ORDER_8]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_the_vectors_of_the_rfc(key, message, signature):
    good = {"public_key": key, "message": message, "signature": signature}
    parts = {name: bytes.fromhex(text) for name, text in good.items()}
    assert verify(**parts)
    for name, part in parts.items():
        for at in {0, len(part) - 1} if part else ():
            changed = bytearray(part)
            changed[at] ^= 1
            assert not verify(**{**parts, name: bytes(changed)})


def test_the_base_point_is_on_the_curve_and_of_order_l():
    x, y, _, _ = BASE
    assert (y * y - x * x - 1 - D * x * x * y * y) % P == 0
    assert y == 4 * pow(5, -1, P) % P
    assert x % 2 == 0


def test_a_second_signature_cannot_be_made_of_the_first():
    key, message, signature = (bytes.fromhex(part) for part in VECTORS[1])
    s = int.from_bytes(signature[32:], "little") + L
    assert not verify(key, message, signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize("key", SMALL)
def test_a_key_of_small_order_vouches_for_nothing(key):
    # with s = 0 and R = the neutral point the equation would hold for many messages
    signature = bytes.fromhex("01" + 63 * "00")
    assert not any(verify(bytes.fromhex(key), bytes([i]), signature) for i in range(16))


@pytest.mark.parametrize(
    "key",
    [
        (P + 1).to_bytes(32, "little"),  # the neutral point, not canonical
        (2).to_bytes(32, "little"),  # on no point of the curve
        (1 | 1 << 255).to_bytes(32, "little"),  # x = 0 with a sign
        b"",
        bytes(31),
        bytes(33),
    ],
)
def test_bytes_that_are_no_key(key):
    signature = bytes.fromhex(VECTORS[0][2])
    assert not verify(key, b"", signature)
    assert not verify(bytes.fromhex(VECTORS[0][0]), b"", key.ljust(32)[:32] + signature[32:])


@settings(deadline=None, max_examples=25)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.data())
def test_as_the_cryptography_library(seed, message, data):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(seed)
    public = private.public_key()
    signature = bytearray(private.sign(message))
    if data.draw(st.booleans()):
        signature[data.draw(st.integers(0, 63))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        public.verify(bytes(signature), message)
        expected = True
    except InvalidSignature:
        expected = False
    assert verify(public.public_bytes_raw(), message, bytes(signature)) is expected
