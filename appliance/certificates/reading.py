"""What a certificate says, in words of the box, and how it stands at a moment. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import Field

from appliance.certificates.authority import BEGINNING
from appliance.certificates.names import covers
from appliance.errors import ConfigError
from appliance.work import Noun

WARN_DAYS, ALARM_DAYS = 30, 7
"""Days before its end from which on it is said, and said loudly."""
NIST = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
MAKER = {"box": "the box's own CA", "site": "the site, imported", "files": "the site, in its own files"}


class Certificate(Noun):
    """A certificate as it is shown to callers."""

    names: tuple[str, ...] = Field(description="names and addresses it is for")
    issuer: str
    source: Literal["box", "site", "files"] = Field(description="who looks after it")
    begins: datetime
    ends: datetime
    fingerprint: str = Field(description="SHA-256 of the certificate, in hexadecimal")
    root_fingerprint: str = Field("", description="SHA-256 of the root it leads to, where the box has it")
    key: str = Field(description="kind and size of the key")

    def left(self, now: datetime) -> float:
        """Days until it ends; negative afterwards."""
        return (self.ends - now) / timedelta(days=1)


class Standing(Noun):
    """How it stands: `verdict` is pass, warn or fail."""

    verdict: Literal["pass", "warn", "fail"]
    found: str
    fix: str = ""


class Due(Noun):
    """Whether it is to be renewed now, and why."""

    renew: bool
    why: str


def described(certificate: x509.Certificate, source: Literal["box", "site", "files"], root: str = "") -> Certificate:
    """What a certificate says."""
    return Certificate(
        names=names_of(certificate),
        issuer=_readable(certificate.issuer),
        source=source,
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        fingerprint=fingerprint(certificate),
        root_fingerprint=root,
        key=kind_of_key(certificate),
    )


def standing(kept: Certificate, now: datetime, wanted: Sequence[str] = ()) -> Standing:
    """How it stands now, `wanted` being names the box is reached by.

    A clock that is wrong is thought of first: neither door looks at it, so nothing stops, whatever this says.
    """
    left = kept.left(now)
    by = MAKER[kept.source]
    mend = {
        "box": "`appliance certificate renew`",
        "site": "have it renewed by who issued it, then `appliance certificate import`",
        "files": "see to what renews these files",
    }[kept.source]
    missing = [name for name in wanted if not covers(kept.names, name)]
    if now < BEGINNING:
        return Standing(verdict="warn", found=f"not judged: the clock says {now:%Y-%m-%d}", fix="set the clock")
    clock = f"set the clock; if it is right, {mend}"
    if now < kept.begins:
        return Standing(verdict="fail", found=f"is valid from {kept.begins:%Y-%m-%d} on, by this clock", fix=clock)
    if left < 0:
        return Standing(verdict="fail", found=f"ended {-left:.0f} days ago, by this clock", fix=clock)
    if missing:
        found = f"is not for {missing[0]}, but for {', '.join(kept.names)}"
        return Standing(verdict="fail", found=found, fix="make or import one with that name")
    told = f"{left:.0f} days left, by {by}, for {', '.join(kept.names[:3])}"
    if left <= WARN_DAYS:
        return Standing(verdict="fail" if left <= ALARM_DAYS else "warn", found=told, fix=mend)
    return Standing(verdict="pass", found=told)


def due(kept: Certificate, now: datetime, renew_days: float) -> Due:
    """Is it to be renewed by itself? Only one of the box's own CA, and never by a clock that cannot be right: clients
    whose clocks are right would refuse what is made then."""
    left = kept.left(now)
    if kept.source != "box" or not renew_days:
        return Due(renew=False, why="it is not renewed by the box itself")
    if now < kept.begins:
        return Due(renew=False, why="by this clock it does not count yet: the clock is looked at by a person first")
    if left < -WARN_DAYS:
        return Due(renew=False, why=f"by this clock it ended {-left:.0f} days ago: a person looks at the clock first")
    if left > renew_days:
        return Due(renew=False, why=f"{left:.0f} days are left, more than {renew_days:g}")
    return Due(renew=True, why=f"{left:.0f} days are left, not more than {renew_days:g}")


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Names and addresses in its subjectAltName; the common name is no name of a server (RFC 6125)."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    named = alternative.get_values_for_type(x509.DNSName)
    return (*named, *(str(one) for one in alternative.get_values_for_type(x509.IPAddress)))


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 in hexadecimal, in pairs, as browsers show it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def kind_of_key(certificate: x509.Certificate) -> str:
    """Like `EC P-256` or `RSA 3072`."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {NIST.get(key.curve.name, key.curve.name)}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")


def certificates_in(pem: bytes, of: str) -> list[x509.Certificate]:
    """Every certificate of a PEM file, in its order. Raises ConfigError; `of` names the file."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigError(f"{of} holds no certificate in PEM", "it begins with -----BEGIN CERTIFICATE-----") from error


def _readable(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()
