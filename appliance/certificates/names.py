"""Names and addresses a certificate can be for. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from cryptography import x509

from appliance.errors import UsageError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""In every certificate the box makes for itself: its own tools ask there."""
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
LONGEST = 253
"""Characters of a name in DNS (RFC 1035)."""


def checked(names: Iterable[str]) -> tuple[str, ...]:
    """Names as they stand in a certificate: lower case, addresses in their shortest form, each once, in order.

    Raises:
        UsageError: one is neither a name in DNS nor an address.

    >>> checked(["Box.Example", "10.0.0.7", "box.example"])
    ('box.example', '10.0.0.7')
    """
    return tuple(dict.fromkeys(_checked(name) for name in names))


def _checked(name: str) -> str:
    text = name.strip().lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        labels = text.split(".")
    if not text or len(text) > LONGEST or not all(_LABEL.fullmatch(one) for one in labels) or labels[-1].isdigit():
        raise UsageError(
            f"{name!r} is neither a name in DNS nor an address",
            "letters, digits, - and dots, like factory.example; write other scripts as xn--…",
        )
    return text


def general(name: str) -> x509.GeneralName:
    """The name as an entry of a certificate."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def covers(kept: Sequence[str], name: str) -> bool:
    """Is a certificate with these names one for `name`? `*` stands for one label (RFC 6125, section 6.4.3).

    >>> covers(["*.example"], "box.example"), covers(["*.example"], "a.box.example"), covers(["10.0.0.7"], "10.0.0.7")
    (True, False, True)
    """
    wanted = name.lower()
    return any(one.lower() in (wanted, f"*.{wanted.partition('.')[2]}") for one in kept)
