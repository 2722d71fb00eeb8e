"""A certificate that a site brings, held to what browsers and clients will ask of it before anything is changed."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.utils import CryptographyDeprecationWarning

from appliance.certificates.names import covers
from appliance.certificates.reading import certificates_in, names_of
from appliance.errors import ConfigError, UsageError, VerificationFailed

SMALLEST_RSA, SMALLEST_EC = 2048, 256
"""Bits (NIST SP 800-57: until 2030)."""
OUTWORN = frozenset({"md5", "sha1"})
LONGEST_CHAIN = 10
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Brought:
    """What was held to be good: key, certificate and what lies between it and the root; and the root apart."""

    served: bytes
    root: x509.Certificate


def judge(certificate: bytes, key: bytes, chain: bytes, wanted: Sequence[str], now: datetime) -> Brought:
    """Hold a certificate to all there is, `wanted` being the names that people reach the box by. All PEM.

    Raises:
        ConfigError: a file is not what it should be.
        UsageError: the key is locked, or of a kind that browsers do not take.
        VerificationFailed: it cannot serve this box; says what to ask its maker for.
    """
    private = _key(key)
    first, *more = certificates_in(certificate, "the certificate's file")
    if first.public_key() != private.public_key():
        raise VerificationFailed("the key is another certificate's", "give the one it was asked for with")
    _itself(first, now)
    _named(first, wanted)
    known = [*more, *(certificates_in(chain, "the chain's file") if chain.strip() else [])]
    path = _path(first, known)
    private_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    served = private_pem + b"".join(one.public_bytes(Encoding.PEM) for one in path[:-1])
    _shake_hands(served, path[-1], wanted[0] if wanted else names_of(first)[0])
    return Brought(served, path[-1])


def _key(pem: bytes) -> Key:
    try:
        key = load_pem_private_key(pem, None)
    except TypeError as error:
        raise UsageError("the key is locked with a password", "`openssl pkey -in KEY -out OPEN` unlocks it") from error
    except ValueError as error:
        raise ConfigError("the key's file holds no private key in PEM", "it begins with -----BEGIN … KEY") from error
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size >= SMALLEST_EC:
        return key
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= SMALLEST_RSA:
        return key
    size = f" of {key.key_size} bits" if isinstance(key, Key) else ""
    raise UsageError(
        f"browsers do not take this kind of key: {type(key).__name__.lstrip('_')}{size}",
        f"EC from {SMALLEST_EC} bits, like P-256, or RSA from {SMALLEST_RSA} bits",
    )


def _itself(one: x509.Certificate, now: datetime) -> None:
    if _extension(one, x509.BasicConstraints, "ca"):
        raise VerificationFailed("this is a CA's certificate", "give the server's; the CA's belongs to --chain")
    ends = one.not_valid_after_utc
    if now >= ends:
        raise VerificationFailed(f"it ended on {ends:%Y-%m-%d}", "have a new one made, or set the clock")
    if now < one.not_valid_before_utc:
        raise VerificationFailed(f"it is valid from {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on", "set the clock")
    if one.signature_hash_algorithm and one.signature_hash_algorithm.name in OUTWORN:
        raise VerificationFailed(f"it is signed over {one.signature_hash_algorithm.name}", "ask for SHA-256")
    try:
        uses = list(one.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if x509.oid.ExtendedKeyUsageOID.SERVER_AUTH not in uses:
        raise VerificationFailed("it may not be used for a server", "ask for extended key usage serverAuth")


def _named(one: x509.Certificate, wanted: Sequence[str]) -> None:
    kept = names_of(one)
    if not kept:
        raise VerificationFailed("it names no server in subjectAltName; a common name counts no more", "ask for SANs")
    for name in wanted:
        if not covers(kept, name):
            raise VerificationFailed(
                f"it is not for {name}, but for {', '.join(kept)}", f"ask for the SAN {name}, or say --name another"
            )


def _path(first: x509.Certificate, known: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """From the certificate to a root, both included."""
    path = [first]
    while not issued(path[-1], path[-1]) or len(path) == 1:
        above = _above(path, known) or _above(path, _of_the_machine())
        if above is None or len(path) == LONGEST_CHAIN:
            raise VerificationFailed(
                f"the chain is not complete: nobody is there who vouches for {path[-1].subject.rfc4514_string()!r}",
                f"--chain FILE with {path[-1].issuer.rfc4514_string()} and all above it, the root included",
            )
        path.append(above)
    return path


def _above(path: Sequence[x509.Certificate], known: Sequence[x509.Certificate]) -> x509.Certificate | None:
    return next((one for one in known if one not in path and issued(path[-1], one)), None)


def issued(one: x509.Certificate, above: x509.Certificate) -> bool:
    """Did the second one sign the first?"""
    try:
        one.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _of_the_machine() -> list[x509.Certificate]:
    """The roots this machine trusts; one that cannot be read is passed over."""
    found = []
    for der in ssl.create_default_context().get_ca_certs(binary_form=True):
        with warnings.catch_warnings(), contextlib.suppress(ValueError):
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # some have odd serial numbers
            found.append(x509.load_der_x509_certificate(der))
    return found


def _shake_hands(served: bytes, root: x509.Certificate, name: str) -> None:
    """What OpenSSL says of it on the other side: path lengths, name constraints, and whatever was not thought of."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:  # 0600; a chain is loaded from a file alone
        file.write(served)
        file.flush()
        server.load_cert_chain(file.name)
    client = ssl.create_default_context(cadata=root.public_bytes(Encoding.PEM).decode())
    client.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Pythons differ in it, and a site's CA may be an older one
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=name)
    answering = server.wrap_bio(there, back, server_side=True)
    for turn in (asking, answering, asking, answering):
        try:
            turn.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            said = f"clients will not take it: {error.verify_message}"
            raise VerificationFailed(said, "ask its maker why") from error
        except ssl.SSLError as error:
            raise VerificationFailed(
                f"no handshake comes about with it: {error.reason}", "ask its maker why"
            ) from error


def _extension(one: x509.Certificate, kind: type[x509.BasicConstraints], field: str) -> bool:
    try:
        return bool(getattr(one.extensions.get_extension_for_class(kind).value, field))
    except x509.ExtensionNotFound:
        return False


def read_file(file: Path, what: str) -> bytes:
    """A file that was named. Raises UsageError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {what} {file}: {error.strerror}", "name a PEM file you can read") from error
