"""A CA of one box: a root that vouches for this box alone, and certificates of a year from it. Pure but for chance.

The root goes into the browsers and clients of a site, and its key lies on the box. Therefore name constraints: with the
key in the wrong hands nobody can be made believe in another server than this one. Path length 0: no CA below it.
Fields and extensions follow RFC 5280; the life of a certificate is what browsers take at most.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from appliance.certificates.names import LOOPBACK, general
from appliance.errors import ConfigError, PolicyRefused

BEGINNING = datetime(2025, 1, 1, tzinfo=UTC)
"""From here on every root holds, whatever the clock said when it was made; a clock before this is wrong."""
ROOT_LIFE = timedelta(days=20 * 365)
LIFE = timedelta(days=397)
"""Of a server's certificate: browsers take no longer one."""
EARLIER = timedelta(hours=1)
"""A certificate counts from before it was made: clocks of clients differ."""
LONGEST_CN = 64
"""Characters of a common name (RFC 5280, appendix A)."""


@dataclass(frozen=True)
class Authority:
    """A root with its key."""

    key: ec.EllipticCurvePrivateKey
    root: x509.Certificate

    def pem(self) -> bytes:
        """Key and root, as they are kept."""
        return key_pem(self.key) + self.root.public_bytes(Encoding.PEM)

    @classmethod
    def read(cls, pem: bytes) -> Authority:
        """What `pem` made. Raises ConfigError."""
        try:
            key = load_pem_private_key(pem, None)
            root = x509.load_pem_x509_certificate(pem)
        except (ValueError, TypeError) as error:
            raise ConfigError(
                "the box's own CA cannot be read", "restore it, or `certificate create --anew`"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key():
            raise ConfigError("key and root of the box's own CA do not belong together", "`certificate create --anew`")
        return cls(key, root)


def found(names: Sequence[str], now: datetime) -> Authority:
    """A new CA that may vouch for `names`, for what lies below them, and for the machine itself.

    Raises:
        ConfigError: the clock cannot be right.
    """
    _believe(now)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Appliance"),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, f"CA of {names[0]}"[:LONGEST_CN]),
    ])  # fmt: skip
    permitted = [_constraint(name) for name in dict.fromkeys([*names, *LOOPBACK])]
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(BEGINNING).not_valid_after(now + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(True, 0), critical=True).add_extension(usage, critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )  # fmt: skip
    return Authority(key, made.sign(key, hashes.SHA256()))


def issue(authority: Authority, names: Sequence[str], now: datetime) -> bytes:
    """A certificate for `names` and the machine itself, with a new key: key, certificate, as PEM.

    Raises:
        ConfigError: the clock cannot be right.
        PolicyRefused: the CA may not vouch for one of the names.
    """
    _believe(now)
    every = list(dict.fromkeys([*names, *LOOPBACK]))
    for name in every:
        if not allows(authority.root, name):
            raise PolicyRefused(
                f"the box's CA may not vouch for {name}: its root is bound to other names",
                "`certificate create --anew --name …` makes another root, which clients have to be given again",
            )
    key = ec.generate_private_key(ec.SECP256R1())
    common = [x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])] if len(names[0]) <= LONGEST_CN else []
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    made = (
        x509.CertificateBuilder().subject_name(x509.Name(common)).issuer_name(authority.root.subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(max(now - EARLIER, BEGINNING))
        .not_valid_after(min(now - EARLIER + LIFE, authority.root.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(False, None), critical=True).add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([general(name) for name in every]), critical=not common)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
    )  # fmt: skip
    return key_pem(key) + made.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as it is kept: PKCS #8, not locked, for a file of 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def allows(root: x509.Certificate, name: str) -> bool:
    """May the root vouch for this name or address?"""
    try:
        permitted = root.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    except x509.ExtensionNotFound:
        return True
    wanted = general(name)
    for one in permitted:
        if isinstance(one, x509.IPAddress) and isinstance(wanted, x509.IPAddress):
            network = one.value
            if isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network) and wanted.value in network:
                return True
        elif (
            isinstance(one, x509.DNSName)
            and isinstance(wanted, x509.DNSName)
            and f".{wanted.value}".endswith(f".{one.value}")
        ):
            return True
    return False


def _constraint(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_network(name))
    except ValueError:
        return x509.DNSName(name)


def _believe(now: datetime) -> None:
    if now < BEGINNING:
        raise ConfigError(
            f"the clock says {now:%Y-%m-%d}, which is before this program was made", "set the clock, then repeat this"
        )
