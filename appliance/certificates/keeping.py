"""The certificate's files in a home: made, renewed, taken in, handed out. Each change is one rename, or nothing.

`secrets/certificate.pem` is served: key, certificate, what lies between it and the root. `secrets/authority.pem` is the
box's own CA: its key and root. `secrets/certificate-root.pem` is the root of a certificate that the site brought. All
are 0600 and lie with the other secrets, so that a snapshot or a backup never has one without the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.certificates.authority import Authority, found, issue
from appliance.certificates.checks import issued, judge
from appliance.certificates.names import LOOPBACK, checked
from appliance.certificates.reading import Certificate, certificates_in, described, fingerprint
from appliance.config import Home
from appliance.errors import ConfigError, Conflict, NotFound, UsageError
from appliance.events import Event, Fact
from appliance.private import replace_private
from appliance.settings import CertificateSettings
from appliance.tls import ServedFiles


class Keeping:
    """What one home has. Reads files at every call: another process may have renewed them."""

    def __init__(self, home: Home, settings: CertificateSettings) -> None:
        self._served = ServedFiles.of(home, settings)
        self._settings = settings
        self._file = home.certificate
        self._authority = home.secrets / "authority.pem"
        self._root = home.secrets / "certificate-root.pem"

    def read(self) -> Certificate | None:
        """The certificate that is served, or would be; None when there is none. Raises ConfigError."""
        if not self._served.chain.exists():
            return None
        first = certificates_in(_content(self._served.chain), str(self._served.chain))[0]
        root = self._root_of(first)
        return described(first, self._source(first), fingerprint(root) if root else "")

    def root(self) -> bytes:
        """The root to give to clients, as PEM. Raises NotFound, ConfigError."""
        if self._served.chain.exists():
            root = self._root_of(certificates_in(_content(self._served.chain), str(self._served.chain))[0])
            if root is not None:
                return root.public_bytes(Encoding.PEM)
        raise NotFound("the box has no root to hand out", "the site that made the certificate has it")

    def create(self, names: Sequence[str], now: datetime, anew: bool = False) -> Certificate:
        """A certificate of the box's own CA, which is made with the first one; `anew` makes another CA, too.

        Raises:
            UsageError: a name cannot be one.
            Conflict: there is a certificate already.
            PolicyRefused: the CA may not vouch for a name.
            ConfigError: the clock cannot be right, or a file cannot be read or written.
        """
        named = checked(names)
        if not named:
            raise UsageError("no name was given", "--name FQDN, as people will type it")
        self._only_here()
        if self._file.exists() and not anew:
            raise Conflict(
                "the box has a certificate", "`certificate renew` renews it, `certificate create --anew` replaces it"
            )
        if self._authority.exists() and not anew:
            authority = Authority.read(_content(self._authority))
        else:
            authority = found(named, now)
            _write(self._authority, authority.pem())
        _write(self._file, issue(authority, named, now))
        return self._told()

    def renew(self, now: datetime) -> Certificate:
        """Another certificate of the box's own CA for the same names, with a new key. Raises as `create`, and Conflict
        for one that the site looks after."""
        kept = self.read()
        if kept is None:
            raise NotFound("there is no certificate to renew", "`appliance certificate create --name FQDN`")
        if kept.source != "box":
            raise Conflict("the site looks after this one", "have its maker renew it, then `certificate import`")
        named = [name for name in kept.names if name not in LOOPBACK] or [LOOPBACK[0]]
        _write(self._file, issue(Authority.read(_content(self._authority)), named, now))
        return self._told()

    def take(self, certificate: bytes, key: bytes, chain: bytes, wanted: Sequence[str], now: datetime) -> Certificate:
        """The site's certificate, once it was held to be good. Raises as `checks.judge`; nothing was changed then."""
        self._only_here()
        brought = judge(certificate, key, chain, wanted, now)
        _write(self._root, brought.root.public_bytes(Encoding.PEM))
        _write(self._file, brought.served)
        return self._told()

    def _told(self) -> Certificate:
        kept = self.read()
        if kept is None:
            raise ConfigError(f"{self._file} was taken away", "repeat this")
        return kept

    def _only_here(self) -> None:
        if self._settings.file:
            raise Conflict(
                f"the doors show the certificate in {self._settings.file}",
                "empty certificate.file in the settings first",
            )

    def _source(self, first: x509.Certificate) -> Literal["box", "site", "files"]:
        if self._settings.file:
            return "files"
        own = self._own_root()
        return "box" if own is not None and issued(first, own) else "site"

    def _root_of(self, first: x509.Certificate) -> x509.Certificate | None:
        """The root kept here that it leads to; one from the site was held to that when it was taken in."""
        own = self._own_root()
        if own is not None and issued(first, own):
            return own
        if self._settings.file or not self._root.exists():
            return None
        return certificates_in(_content(self._root), str(self._root))[0]

    def _own_root(self) -> x509.Certificate | None:
        return certificates_in(_content(self._authority), str(self._authority))[0] if self._authority.exists() else None


def event(how: str, kept: Certificate, by: str) -> Event:
    """What the audit chain is told: `how` is created, renewed or imported."""
    told = {"how": how, "names": list(kept.names), "issuer": kept.issuer, "until": kept.ends.isoformat(), "by": by}
    return Event(kind=Fact.CERTIFICATE_CHANGED, subject="box", payload={**told, "fingerprint": kept.fingerprint})


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", "make it readable for the box's user") from error


def _write(file: Path, content: bytes) -> None:
    try:
        replace_private(file, content)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}", "make room, and see to the rights") from error
