"""Which names a request may call this box by. Anything else is an attempt to reach it through somebody's DNS."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit


def own_names(listening: str, further: Iterable[str]) -> frozenset[str]:
    """Names this machine answers to: localhost, its host name, the listening address and those in the settings."""
    host = socket.gethostname().lower()
    own = {"localhost", host, host.partition(".")[0], listening.lower()}
    return frozenset(own | {name.lower() for name in further})


def name_of(host: str) -> str:
    """The name in a Host header, without the port.

    >>> name_of("box.example:8081"), name_of("[::1]:80"), name_of("")
    ('box.example', '::1', '')
    """
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_ours(host: str, names: frozenset[str]) -> bool:
    """May a request carry this Host header? IP addresses may: rebinding needs a name.

    >>> is_ours("10.1.2.3:8081", frozenset()), is_ours("evil.example", frozenset({"box"}))
    (True, False)
    """
    name = name_of(host)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def local_path(target: str) -> str:
    """`target` when it is a path on this box, else "/": the answer to open redirects.

    >>> [local_path(t) for t in ("/items/W-1?a=b", "//evil.example", "https://evil.example", "/\\\\evil", "")]
    ['/items/W-1?a=b', '/', '/', '/', '/']
    """
    good = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if good else "/"
