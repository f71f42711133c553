"""TLS with a certificate of the server's own: made at first start, pinned by the phones it pairs.

EC P-256, signed with its own key, valid for 825 days, the longest that Apple's systems take from a
certificate that a user trusts by hand (https://support.apple.com/en-us/103769). The names in it are
for browsers; a paired phone compares the SHA-256 of the whole certificate (DER) instead, which
needs no authority and no name that fits. So a new certificate is a break with every paired phone:
it is made only when the old one is about to end, and said loudly before and then.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import logging
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from companion_server.security.private_files import private_folder, read_private, write_private
from headtail.errors import EnvironmentFault

__all__ = [
    "Certificate",
    "Renewal",
    "ensure_certificate",
    "load_certificate",
    "machine_names",
    "tls_context",
]

log = logging.getLogger(__name__)
VALID = datetime.timedelta(days=825)
RENEW_BEFORE = datetime.timedelta(days=14)
WARN_BEFORE = datetime.timedelta(days=60)
BACKDATED = datetime.timedelta(hours=1)  # for phones whose clock is behind
MAX_PEM_BYTES = 1 << 20
FILE_NAME = "tls.pem"  # the key and its certificate
Clock = Callable[[], datetime.datetime]


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate and its key.

    `fingerprint` is the SHA-256 (hex) of the DER certificate; `pinned` says whether phones are to
    compare it, True for the server's own.
    """

    chain: Path
    key: Path
    fingerprint: str
    not_after: datetime.datetime
    pinned: bool


def ensure_certificate(
    folder: Path, *, names: Iterable[str] = (), now: Clock = _utc_now
) -> Certificate:
    """The server's own certificate in `folder`, made or renewed if it has to be.

    `names` are further names and addresses of the server. Raises `EnvironmentFault` for a file that
    others may read or that holds no certificate and its key.
    """
    path = private_folder(folder) / FILE_NAME
    if not path.exists():
        made = _make(path, names, now())
        log.info("Made a certificate with fingerprint %s.", made.fingerprint)
        return made
    read_private(path, limit=MAX_PEM_BYTES)
    held = load_certificate(path, path, pinned=True)
    left = held.not_after - now()
    if left > RENEW_BEFORE:
        if left <= WARN_BEFORE:
            log.warning(
                "The server's certificate ends on %s. The first start after %s makes a new one, "
                "and then every phone has to be paired again.",
                f"{held.not_after:%Y-%m-%d}",
                f"{held.not_after - RENEW_BEFORE:%Y-%m-%d}",
            )
        return held
    made = _make(path, names, now())
    log.warning(
        "THE SERVER'S CERTIFICATE IS NEW. Paired phones refuse it until they are paired again. "
        "The former one (%s) ends on %s, the new one is %s.",
        held.fingerprint,
        f"{held.not_after:%Y-%m-%d}",
        made.fingerprint,
    )
    return made


def load_certificate(chain: Path, key: Path, *, pinned: bool = False) -> Certificate:
    """A certificate (the first of `chain`) and its key, which may be the same file.

    Raises `EnvironmentFault` for files that are not, or that do not belong together.
    """
    try:
        data = chain.read_bytes()
        found = x509.load_pem_x509_certificate(data)
        _context(chain, key)
        der = ssl.PEM_cert_to_DER_cert(_first(data.decode("ascii")))
    except (OSError, ValueError) as error:
        raise EnvironmentFault(
            f"{chain} and {key} are no certificate with its key: {error}.",
            expected="Files in PEM form that the server may read, the key without a password.",
            remedy="Correct the paths, or remove the server's own file to have a new one made.",
        ) from None
    fingerprint = hashlib.sha256(der).hexdigest()
    return Certificate(chain, key, fingerprint, found.not_valid_after_utc, pinned)


def tls_context(certificate: Certificate) -> ssl.SSLContext:
    """For every listener of the server: TLS 1.2 and newer.

    With uvicorn: `Config(ssl_context_factory=lambda _config, _default: tls_context(certificate))`.
    """
    return _context(certificate.chain, certificate.key)


class Renewal:
    """Brings a certificate whose files were replaced into a context that is in use.

    Connections that are open keep the one that they began with. Files that do not fit together are
    an error in the log, and what was loaded before stays.
    """

    def __init__(self, certificate: Certificate, context: ssl.SSLContext) -> None:
        self._certificate, self._context = certificate, context
        self._seen = self._stamp()

    async def check(self) -> None:
        """Look at the files; for uvicorn's `callback_notify`."""
        stamp, files = self._stamp(), (self._certificate.chain, self._certificate.key)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            # apart first: a context in use must not be left with a certificate and another's key
            found = load_certificate(*files)
            self._context.load_cert_chain(*files, password="")
        except (EnvironmentFault, OSError) as error:
            log.error("The certificate was replaced and cannot be used. %s", error)
        else:
            log.info("The certificate %s is used from now on.", found.fingerprint)

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_file_stamp(path) for path in (self._certificate.chain, self._certificate.key))


def machine_names() -> tuple[str, ...]:
    """Names and addresses by which this machine can be reached, the likeliest address first.

    No packet is sent: connecting a UDP socket only asks the system which way it would go.
    """
    found: list[str] = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            found.append(probe.getsockname()[0])
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(name, None)]
    plain = [address.partition("%")[0] for address in found]
    return tuple(dict.fromkeys([*plain, name, f"{name}.local"]))


def _make(path: Path, names: Iterable[str], now: datetime.datetime) -> Certificate:
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Headtail companion server")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID)
    )
    for extension, critical in _extensions(names):
        builder = builder.add_extension(extension, critical=critical)
    made = builder.sign(secret, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = secret.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # one file, so that no crash can leave a key with another's certificate
    write_private(path, private + made.public_bytes(pem))
    return load_certificate(path, path, pinned=True)


def _context(chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 9325 §4.2: forward secrecy and authenticated encryption; TLS 1.3 has nothing else
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(chain, key, password="")  # without one, OpenSSL asks on the terminal
    return context


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    with contextlib.suppress(OSError):  # between two renames it may be nowhere
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None


def _extensions(names: Iterable[str]) -> list[tuple[x509.ExtensionType, bool]]:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    every = dict.fromkeys(["localhost", "127.0.0.1", "::1", *machine_names(), *filter(None, names)])
    return [
        (x509.SubjectAlternativeName([found for n in every if (found := _general(n))]), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ]


def _general(name: str) -> x509.GeneralName | None:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    with contextlib.suppress(UnicodeError):  # a machine may be called what no network name can be
        return x509.DNSName(name.encode("idna").decode("ascii"))
    return None


def _first(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    return pem[pem.index("-----BEGIN CERTIFICATE-----") : pem.index(end) + len(end)]
