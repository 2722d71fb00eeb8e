"""What a fresh box is called, by which names people reach it, and whether the machine lets it be reached so."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from installer.errors import InstallError
from installer.preflight import Row
from installer.target.places import Places

DOORS = {"console": 8443, "gateway": 8080}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what people must reach; the firewall and the units say from where
BEGINNING = 1_735_689_600
"""2025-01-01: a certificate made by an earlier clock would be refused by everybody whose clock is right."""
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


@dataclass(frozen=True)
class Naming:
    """By which names people reach the box, the first one in links; and the address its doors listen on."""

    names: tuple[str, ...]
    listen: str = EVERYWHERE


def options(verb: argparse.ArgumentParser) -> None:
    """What an install may be told."""
    verb.add_argument("--name", action="append", metavar="FQDN",
                      help="a name or address people type; again for each (the machine's own)")  # fmt: skip
    verb.add_argument("--listen", default=EVERYWHERE, metavar="ADDRESS", help="where its doors listen (everywhere)")


def naming(asked: argparse.Namespace, places: Places) -> Naming | None:
    """What was said, else what the machine calls itself; None for a home that has settings, which say it.

    Raises:
        InstallError: a name is none, or the address to listen on.
    """
    if begun(places):
        return None
    told = asked.name or [own_name(os.uname().nodename, _text(Path("/etc/hosts")))]
    try:
        listen = str(ipaddress.ip_address(asked.listen))
    except ValueError as error:
        raise InstallError(f"{asked.listen!r} is no address", "like --listen 10.1.2.3") from error
    return Naming(tuple(dict.fromkeys(_checked(name) for name in told)), listen)


def own_name(node: str, hosts: str) -> str:
    """The machine's full name, from its host name and the text of /etc/hosts: no name server is asked.

    >>> own_name("box", "127.0.1.1 box.example box  # this machine"), own_name("box.example", ""), own_name("box", "")
    ('box.example', 'box.example', 'box')
    """
    for line in hosts.splitlines() if "." not in node else ():
        names = line.partition("#")[0].split()[1:]
        full = [name for name in names if "." in name]
        if node in names and full:
            return full[0]
    return node


def rows(found: Naming | None, now: float) -> list[Row]:
    """What a fresh box needs of the machine beside the rest; nothing for one that is there."""
    if found is None:
        return []
    first = found.names[0]
    known = "." in first or ":" in first
    fix = "--name FQDN, as people will type it"
    return [
        Row("name", "pass", ", ".join(found.names)) if known else
        Row("name", "warn", f"{first}, which has no domain: other machines may not find it", fix),
        Row("certificate", "pass", "can be made") if now >= BEGINNING else
        Row("certificate", "fail", f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(now))}", "set the clock"),
        *(_port(name, found.listen, port) for name, port in DOORS.items()),
    ]  # fmt: skip


def begun(places: Places) -> bool:
    """Whether the home has settings: then they say which names and doors there are."""
    return (places.home / "appliance.toml").exists()


def _port(name: str, listen: str, port: int) -> Row:
    try:
        with socket.socket(socket.AF_INET6 if ":" in listen else socket.AF_INET) as door:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((listen, port))
    except OSError as error:
        return Row(f"{name}'s port", "fail", f"{listen}:{port}: {error.strerror}", "stop what listens there")
    return Row(f"{name}'s port", "pass", f"{listen}:{port} is free")


def _checked(name: str) -> str:
    text = name.strip().lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        labels = text.split(".")
    if not text or len(text) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(one) for one in labels):
        raise InstallError(f"{name!r} is neither a name in DNS nor an address", "--name FQDN, like factory.example")
    return text


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8", "replace")
    except OSError:
        return ""
