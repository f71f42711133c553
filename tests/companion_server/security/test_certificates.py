"""The server's own certificate: its form, its life, and what cannot take its place."""

import asyncio
import datetime
import hashlib
import socket
import ssl
import stat
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI

from companion_server.guard import Guard
from companion_server.operations.metrics import Metrics
from companion_server.security.certificates import (
    Renewal,
    ensure_certificate,
    load_certificate,
    machine_names,
    tls_context,
)
from companion_server.settings import Settings
from companion_server.web import _config
from headtail.errors import EnvironmentFault
from tests.companion_server.operations.conftest import poll, serving
from tests.companion_server.security.conftest import greet

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)


def after(**duration):
    return lambda: NOW + datetime.timedelta(**duration)


def test_a_first_start_makes_it(folder):
    made = ensure_certificate(folder, names=["tails.example", "192.0.2.9"], now=after())
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    found = x509.load_pem_x509_certificate(made.chain.read_bytes())
    der = found.public_bytes(serialization.Encoding.DER)
    assert made.fingerprint == hashlib.sha256(der).hexdigest()
    assert made.pinned
    key = found.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"localhost", "tails.example", socket.gethostname()} <= set(hosts)
    assert {"127.0.0.1", "::1", "192.0.2.9"} <= addresses
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert found.not_valid_before_utc < NOW
    assert (made.not_after - NOW).days == 825


def test_names_that_no_certificate_can_have_are_left_out(folder):
    made = ensure_certificate(folder, names=["x" * 64, "a..b", "", "bücher.example"])
    found = x509.load_pem_x509_certificate(made.chain.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = names.get_values_for_type(x509.DNSName)
    assert "xn--bcher-kva.example" in hosts
    assert not {"x" * 64, "a..b", ""} & set(hosts)


def test_it_stays_the_same(folder, caplog):
    first = ensure_certificate(folder, now=after())
    again = ensure_certificate(folder, now=after(days=700))
    assert first == again
    assert not caplog.records


def test_its_end_is_told_and_a_new_one_told_louder(folder, caplog):
    first = ensure_certificate(folder, now=after())
    assert ensure_certificate(folder, now=after(days=800)) == first
    assert "every phone has to be paired again" in caplog.text
    caplog.clear()
    new = ensure_certificate(folder, now=after(days=812))
    assert new.fingerprint != first.fingerprint
    assert "THE SERVER'S CERTIFICATE IS NEW" in caplog.text
    assert first.fingerprint in caplog.text
    assert new.fingerprint in caplog.text
    assert caplog.records[-1].levelname == "WARNING"


def test_a_key_that_others_may_read_is_refused(folder):
    made = ensure_certificate(folder)
    made.key.chmod(0o640)
    with pytest.raises(EnvironmentFault, match="chmod 600"):
        ensure_certificate(folder)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\xff\xfe"])
def test_something_else_in_its_place(folder, content):
    made = ensure_certificate(folder)
    made.key.write_bytes(content)
    with pytest.raises(EnvironmentFault, match="no certificate with its key"):
        ensure_certificate(folder)


def split(made):
    key, _, chain = made.key.read_bytes().partition(b"-----BEGIN CERTIFICATE-----")
    return key, b"-----BEGIN CERTIFICATE-----" + chain


def test_another_s_key_is_refused(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    (key, chain) = (tmp_path / "key.pem", tmp_path / "chain.pem")
    chain.write_bytes(split(ensure_certificate(ours))[1])
    key.write_bytes(split(ensure_certificate(theirs))[0])
    with pytest.raises(EnvironmentFault, match="no certificate with its key"):
        load_certificate(chain, key)
    key.write_bytes(split(ensure_certificate(ours))[0])
    assert load_certificate(chain, key).pinned is False


def test_a_key_with_a_password_is_refused_and_nobody_asked(folder):
    made = ensure_certificate(folder)
    key, chain = split(made)
    locked = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    made.key.write_bytes(locked + chain)
    with pytest.raises(EnvironmentFault, match="without a password"):
        ensure_certificate(folder)


def test_the_names_of_this_machine():
    names = machine_names()
    assert socket.gethostname() in names
    assert len(set(names)) == len(names)


def handshake(context, client):
    """Version and cipher that a client gets, or its error."""
    ours, theirs = socket.socketpair()

    def serve():
        try:
            with context.wrap_socket(ours, server_side=True) as secured:
                secured.recv(1)
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname="localhost") as secured:
            return secured.version(), secured.cipher()[0]
    finally:
        theirs.close()
        thread.join()
        ours.close()


def test_tls_is_modern(folder):
    context = tls_context(ensure_certificate(folder))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    client = ssl.create_default_context(cafile=folder / "tls.pem")
    assert handshake(context, client)[0] == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    version, cipher = handshake(context, client)
    assert version == "TLSv1.2"
    assert cipher.startswith("ECDHE-")
    client.set_ciphers("AES128-SHA:ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(ssl.SSLError):
        handshake(context, client)


def shown(port):
    """SHA-256 of the certificate that a server shows to who connects."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def test_an_authority_s_certificate_is_renewed_while_it_is_served(tmp_path, caplog):
    first, second = (ensure_certificate(tmp_path / name) for name in ("first", "second"))
    files = tmp_path / "chain.pem", tmp_path / "key.pem"
    for path, part in zip(files, reversed(split(first)), strict=True):
        path.write_bytes(part)
    context = tls_context(load_certificate(*files))
    renewal = Renewal(load_certificate(*files), context)
    options = {"callback_notify": renewal.check, "timeout_notify": 0}
    with serving(greet, ssl_context_factory=lambda *_: context, **options) as port:
        assert shown(port) == first.fingerprint
        for path, part in zip(files, reversed(split(second)), strict=True):
            path.write_bytes(part)  # the server may look between the two
        assert poll(lambda: shown(port) == second.fingerprint)
    files[0].write_bytes(split(first)[1])  # and the key is the second's
    caplog.clear()
    with serving(greet, ssl_context_factory=lambda *_: context, **options) as port:
        assert poll(lambda: "was replaced and cannot be used" in caplog.text)
        assert shown(port) == second.fingerprint
        files[0].unlink()
        asyncio.run(renewal.check())
        assert shown(port) == second.fingerprint


def test_only_an_authority_s_certificate_is_looked_at_again(folder):
    own = ensure_certificate(folder)
    given = load_certificate(own.chain, own.key)
    for certificate, looked_at in ((own, False), (given, True), (None, False)):
        config = _config(FastAPI(), Settings.of(), Guard(certificate=certificate), Metrics())
        assert (config.callback_notify is not None) is looked_at
