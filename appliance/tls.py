"""TLS of the two doors: which certificate they show, and what a handshake must be like.

One certificate serves gateway and console, for both are one machine's. What lies on disk is looked at before every
handshake, so a renewed certificate counts from the next connection on and no running one notices; one that cannot be
used is told in the log, and the one before goes on.
"""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from appliance.config import Home
from appliance.errors import ConfigError
from appliance.settings import CertificateSettings

log = logging.getLogger("appliance.tls")

HANDSHAKE_SECONDS = 10.0
"""Until hands are shaken; who takes longer is let go."""
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""For TLS 1.2: forward secrecy and authenticated encryption alone (RFC 9325, section 4.2). TLS 1.3 has no others."""
HSTS = "max-age=31536000"
"""A browser that trusts the certificate asks for nothing but https of this name for a year (RFC 6797)."""


@dataclass(frozen=True)
class ServedFiles:
    """Where certificate and key lie, both PEM; one file may hold both."""

    chain: Path
    key: Path

    @classmethod
    def of(cls, home: Home, settings: CertificateSettings) -> ServedFiles:
        """The site's own files where the settings name them, else the box's."""
        chain = Path(settings.file) if settings.file else home.certificate
        return cls(chain, Path(settings.key_file) if settings.key_file else chain)

    def state(self) -> tuple[tuple[int, int, int], ...]:
        """What changes with the files. Raises OSError when one is not there."""
        return tuple((now.st_mtime_ns, now.st_ino, now.st_size) for now in (self.chain.stat(), self.key.stat()))

    def load(self) -> ssl.SSLContext:
        """What a server shakes hands with: TLS 1.2 or 1.3.

        Raises:
            ConfigError: there is no certificate, everybody on the machine can read the key, or they do not belong
                together.
        """
        try:
            if self.key.stat().st_mode & 0o007:
                raise ConfigError(f"{self.key} can be read by everybody", f"`chmod o= {self.key}`")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(CIPHERS)
            context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
            context.set_alpn_protocols(["http/1.1"])
            context.load_cert_chain(self.chain, self.key, password=_no_password)
        except FileNotFoundError as error:
            raise ConfigError(
                f"TLS is on and there is no certificate at {error.filename or self.chain}",
                "`appliance certificate create --name FQDN` makes one, `certificate import` takes the site's",
            ) from error
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"certificate and key in {self.chain} cannot be used: {_reason(error)}",
                "`appliance certificate show` says more; `certificate create` or `import` makes another",
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{self.chain} or {self.key} cannot be read: {error.strerror}", "make them readable for the box's user"
            ) from error
        return context


class ServerTls:
    """The context for the next handshake; kept while the files stay as they are."""

    def __init__(self, files: ServedFiles) -> None:
        self._files = files
        self._state: object = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ConfigError as `ServedFiles.load` while there was never one that could be used."""
        try:
            state: object = self._files.state()
        except OSError as error:
            state = error.errno
        if self._context is None or state != self._state:
            self._state = state
            self._take_up()
        assert self._context is not None
        return self._context

    def _take_up(self) -> None:
        try:
            self._context = self._files.load()
        except ConfigError as error:
            if self._context is None:
                self._state = None
                raise
            log.warning("the certificate from before goes on: %s (%s)", error.message, error.hint)
        else:
            log.info("connections from now on are shown the certificate in %s", self._files.chain)


def served_by(home: Home, settings: CertificateSettings, on: bool) -> ServerTls | None:
    """What a door shakes hands with, held to be usable; None where TLS is off.

    Made in the process that uses it: raises ConfigError at once instead of at the first caller.
    """
    if not on:
        return None
    made = ServerTls(ServedFiles.of(home, settings))
    made.context()
    return made


def unverified() -> ssl.SSLContext:
    """For asking a process of this box whether it is alive: nothing secret goes there, nothing that comes is believed,
    and the answer must not depend on the clock or on who vouches for the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def is_plain(error: ssl.SSLError) -> bool:
    """Did somebody speak plain HTTP where TLS is spoken?"""
    return error.reason == "HTTP_REQUEST"


def _no_password() -> str:
    raise ValueError("the key is locked with a password")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return {"KEY_VALUES_MISMATCH": "the key is another certificate's", "NO_START_LINE": "no PEM is in it"}.get(
            error.reason, error.reason.lower().replace("_", " ")
        )
    return str(error)
