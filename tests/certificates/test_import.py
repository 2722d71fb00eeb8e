"""A certificate that the site brings: taken when clients would take it, else refused with a reason, nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from appliance.certificates.keeping import Keeping
from appliance.certificates.names import general
from appliance.config import Home
from appliance.errors import FactoryError
from appliance.settings import CertificateSettings
from appliance.tls import ServedFiles
from appliance.work import utcnow
from tests.certificates.test_own_ca import shake_hands

NAME = "factory.example"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make(
    subject: str,
    by: Made | None = None,
    *,
    ca: bool = False,
    names: tuple[str, ...] = (),
    begins: int = -1,
    ends: int = 100,
    key: Key | None = None,
    uses: tuple[x509.ObjectIdentifier, ...] = (),
    path_length: int | None = None,
) -> Made:
    own = key or ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    now = utcnow()
    usage = x509.KeyUsage(True, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder().subject_name(named).issuer_name(by.certificate.subject if by else named)
        .public_key(own.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins)).not_valid_after(now + timedelta(days=ends))
        .add_extension(x509.BasicConstraints(ca, path_length), critical=True).add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    )  # fmt: skip
    if by:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
    if names:
        alternative = x509.SubjectAlternativeName([general(name) for name in names])
        builder = builder.add_extension(alternative, critical=False)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    signing = by.key if by else own
    digest = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Made(builder.sign(signing, digest), own)


@dataclass(frozen=True)
class Brought:
    certificate: bytes
    key: bytes
    chain: bytes


@pytest.fixture(scope="module")
def root() -> Made:
    return make("root of the site", ca=True)


@pytest.fixture(scope="module")
def between(root: Made) -> Made:
    return make("issuing CA", root, ca=True, path_length=0)


@pytest.fixture
def good(root: Made, between: Made) -> Brought:
    one = make(NAME, between, names=(NAME,))
    return Brought(one.pem, one.key_pem, between.pem + root.pem)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def kept(home: Home) -> Keeping:
    return Keeping(home, CertificateSettings())


def take(kept: Keeping, one: Brought) -> None:
    kept.take(one.certificate, one.key, one.chain, [NAME], utcnow())


def test_a_good_one_is_served_with_all_that_clients_need_but_the_root(
    home: Home, kept: Keeping, good: Brought, root: Made
) -> None:
    kept.create([NAME], utcnow())
    take(kept, good)
    found = kept.read()
    assert found is not None and found.source == "site" and found.names == (NAME,) and kept.root() == root.pem
    shake_hands(ServedFiles.of(home, CertificateSettings()).load(), root.pem, NAME)
    assert root.pem not in home.certificate.read_bytes() and home.certificate.stat().st_mode & 0o777 == 0o600


def test_a_chain_in_any_order_and_in_one_file_is_taken(kept: Keeping, good: Brought, root: Made, between: Made) -> None:
    take(kept, replace(good, chain=root.pem + between.pem))
    take(kept, replace(good, certificate=good.certificate + between.pem, chain=root.pem))
    many = make("*.plant.example", root, names=("*.plant.example",))
    kept.take(many.pem, many.key_pem, root.pem, ["box.plant.example"], utcnow())


def bad(kind: str) -> Callable[[Brought, Made, Made], Brought]:
    def of(one: Made, good: Brought) -> Brought:
        return replace(good, certificate=one.pem, key=one.key_pem)

    def changed(good: Brought, root: Made, between: Made) -> Brought:
        match kind:
            case "another key":
                return replace(good, key=make("x").key_pem)
            case "no key":
                return replace(good, key=good.certificate)
            case "locked key":
                own = make(NAME, between, names=(NAME,))
                locked = own.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
                return replace(good, certificate=own.pem, key=locked)
            case "no certificate":
                return replace(good, certificate=b"hello")
            case "short key":
                return of(make(NAME, between, names=(NAME,), key=rsa.generate_private_key(65537, 1024)), good)
            case "kind of key":
                return of(make(NAME, between, names=(NAME,), key=ed25519.Ed25519PrivateKey.generate()), good)
            case "ended":
                return of(make(NAME, between, names=(NAME,), begins=-9, ends=-1), good)
            case "not yet":
                return of(make(NAME, between, names=(NAME,), begins=5), good)
            case "other name":
                return of(make(NAME, between, names=("other.example",)), good)
            case "common name alone":
                return of(make(NAME, between), good)
            case "a CA":
                return of(make(NAME, root, names=(NAME,), ca=True), good)
            case "no server":
                return of(make(NAME, between, names=(NAME,), uses=(x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH,)), good)
            case "no root":
                return replace(good, chain=between.pem)
            case "nothing between":
                return replace(good, chain=root.pem)
            case "too long a path":
                further = make("CA below a CA", between, ca=True)
                low = make(NAME, further, names=(NAME,))
                return Brought(low.pem, low.key_pem, further.pem + between.pem + root.pem)
        raise AssertionError(kind)

    return changed


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("another key", "another certificate's"), ("no key", "no private key"), ("locked key", "locked with a"),
        ("no certificate", "no certificate in"), ("short key", "1024 bits"), ("kind of key", "do not take this kind"),
        ("ended", "it ended on"), ("not yet", "it is valid from"), ("other name", f"is not for {NAME}"),
        ("common name alone", "subjectAltName"), ("a CA", "a CA's certificate"), ("no server", "used for a server"),
        ("no root", "chain is not complete"), ("nothing between", "chain is not complete"),
        ("too long a path", "path length"),
    ],
)  # fmt: skip
def test_what_clients_would_not_take_is_refused_and_nothing_is_changed(
    home: Home, kept: Keeping, good: Brought, root: Made, between: Made, kind: str, said: str
) -> None:
    take(kept, good)
    before = {file.name: file.read_bytes() for file in home.secrets.iterdir()}
    with pytest.raises(FactoryError, match=said) as refused:
        take(kept, bad(kind)(good, root, between))
    assert refused.value.hint and "PRIVATE" not in f"{refused.value.message}{refused.value.hint}"
    assert {file.name: file.read_bytes() for file in home.secrets.iterdir()} == before
