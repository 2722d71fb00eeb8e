"""Why a server's certificate is not trusted, in words.

Git says the same for every reason where it is built upon GnuTLS (as Debian's is), so that the box looks for itself.
"""

from __future__ import annotations

import re
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from appliance.errors import Unavailable, VerificationFailed

LOOK_SECONDS = 10.0

REASONS = (
    (r"has expired", "the server's certificate has expired",
     "its administrator has to renew it (this box takes it for {now})"),
    (r"not yet valid", "the server's certificate is not valid yet",
     "compare the clocks: this box takes it for {now}"),
    (r"ismatch|doesn't match", "the server's certificate is not for {host}",
     "give the address with the name in the certificate, or let its administrator add this name"),
    (r"self[- ]signed|issuer|first certificate|invalid CA|unsuitable", "the server's certificate is not signed by a CA "
     "that the box trusts for it", "give the CA that signed it: --ca FILE"),
)  # fmt: skip
"""What OpenSSL says (pattern) → what is wrong, and what to do."""


def trusting(ca: Path) -> ssl.SSLContext:
    """Whom to trust: a private CA alone where there is one, as git does; else whom the machine trusts.

    Raises VerificationFailed for a file that holds no certificate.
    """
    if not ca.exists():
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except (ssl.SSLError, OSError) as error:
        raise VerificationFailed(f"{ca.name} is no certificate: {error}", "give the CA's certificate as PEM") from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python 3.13 refuses CAs without key identifiers; git does not
    return context


def in_words(said: str, host: str) -> Unavailable | None:
    """OpenSSL's refusal of a certificate as an error with a remedy; None for another matter."""
    for pattern, what, hint in REASONS:
        if "certificate" in said.lower() and re.search(pattern, said):
            now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            return Unavailable(what.format(host=host), hint.format(now=now))
    return None


def look(url: str, ca: Path) -> Unavailable | None:
    """Ask a server for its certificate: what is wrong with it, or None when it is good or does not answer."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), LOOK_SECONDS) as plain,
            trusting(ca).wrap_socket(plain, server_hostname=parts.hostname),
        ):
            return None
    except ssl.SSLCertVerificationError as error:
        return in_words(str(error), parts.hostname)
    except OSError:
        return None
