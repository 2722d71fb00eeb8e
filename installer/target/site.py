"""What a site decides about its box, kept so that an upgrade asks nothing again: user, ranges, memory, firewall."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from installer.errors import InstallError
from installer.target.places import Places, read, write

USUAL = Places(Path("/opt/appliance"), Path("/var/lib/appliance"))
USER = "appliance"
KEEP = 2
"""Releases that stay: the one that runs, and the one to go back to."""

_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_FOLDER = re.compile(r"/[A-Za-z0-9_./+-]*")
_MEMORY = re.compile(r"([a-z]+)=(\d{1,2}%|100%|\d{1,6}[MG])")


@dataclass(frozen=True)
class Site:
    """`user` "" runs the box as whoever installs. `allow` are networks (CIDR) that may be talked to besides this
    machine; `memory` are ceilings of processes, like `engines=70%` of the machine's or `line=4G`."""

    user: str = ""
    allow: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    firewall: bool = False
    keep: int = KEEP
    folders: tuple[str, ...] = ()
    """Outside the home, where line and console may write: backups, media."""

    def ceiling(self, process: str, usual: str) -> str:
        """A process's most memory, as systemd writes it."""
        own = dict(one.split("=") for one in self.memory)
        return own.get(process, usual)


def options(verb: argparse.ArgumentParser) -> None:
    """What a verb that makes or mends a box may be told of the site. Nothing said means: as before."""
    verb.add_argument("--user", help="whose the box is; root at the usual places: a system user `appliance`")
    verb.add_argument("--allow", action="append", metavar="CIDR",
                      help="a network of the site, which may be talked to; again for each")  # fmt: skip
    verb.add_argument("--memory", action="append", metavar="PROCESS=SIZE",
                      help="a process's most memory, like engines=70%% or line=4G; units only")  # fmt: skip
    verb.add_argument("--folder", action="append", dest="folders", metavar="DIR",
                      help="a folder outside the home to write to, for backups and media; again for each")  # fmt: skip
    verb.add_argument("--firewall", action=argparse.BooleanOptionalAction, default=None,
                      help="nftables rules: doors for these networks only, the box to them only")  # fmt: skip
    verb.add_argument("--keep", type=int, metavar="N", help=f"releases that stay, with their snapshots ({KEEP})")


def given(asked: argparse.Namespace) -> dict[str, Any]:
    """The site's options as `decided` takes them."""
    lists = {
        name: tuple(found) for name in ("allow", "memory", "folders") if (found := getattr(asked, name)) is not None
    }
    return {"user": asked.user, "firewall": asked.firewall, "keep": asked.keep, **lists}


def recorded(places: Places) -> Site | None:
    """What was decided at an earlier install; None where nothing was. Raises InstallError when it is damaged."""
    found = read(places.state / "site.json")
    if found is None:
        return None
    try:
        return Site(
            user=str(found["user"]), allow=tuple(map(str, found["allow"])), memory=tuple(map(str, found["memory"])),
            firewall=bool(found["firewall"]), keep=int(found["keep"]),
            folders=tuple(map(str, found.get("folders", ()))),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        record = places.state / "site.json"
        raise InstallError(f"{record} is damaged", "restore it, or move it away and install again") from error


def keep(places: Places, site: Site) -> None:
    """Record what was decided."""
    write(places.state / "site.json", asdict(site))


def decided(places: Places, options: dict[str, Any], before: Site | None, root: bool) -> Site:
    """What this run's options make of what was decided before. An option that was not given changes nothing.

    A user of its own is the rule where root installs to the usual places; elsewhere it must be named, since the user
    must be able to reach them.

    Raises:
        InstallError: an option makes no sense.
    """
    usual = before or Site(user=USER if root and places == USUAL else "")
    given = {name: value for name, value in options.items() if value is not None}
    site = replace(usual, **given)
    if site.user and not _NAME.fullmatch(site.user):
        raise InstallError(f"{site.user!r} is no name of a user", "small letters, digits, - and _: --user appliance")
    if given.get("user") and not root:
        raise InstallError("only root can give the box a user of its own", "run this as root, or leave out --user")
    if before is not None and before.user and site.user != before.user:
        raise InstallError(f"the box belongs to the user {before.user}", "uninstall first; the data stay")
    if site.keep < KEEP:
        raise InstallError(f"{site.keep} releases cannot be kept", "at least 2: what runs, and the one before it")
    for one in site.memory:
        if not _MEMORY.fullmatch(one):
            raise InstallError(f"{one!r} is no ceiling of memory", "like --memory engines=70% or --memory line=4G")
    for one in site.folders:
        if not _FOLDER.fullmatch(one) or one == "/":
            raise InstallError(f"{one!r} is no folder to write to", "its whole path, like --folder /mnt/backups")
    if site.user and not all(_FOLDER.fullmatch(str(place)) for place in (places.prefix, places.home)):
        raise InstallError("a unit cannot name these places", "a --prefix and a --home without blanks and signs")
    return replace(site, allow=tuple(_network(one) for one in site.allow))


def by_root() -> bool:
    """Whether this run may make users and units."""
    return os.geteuid() == 0


def _network(text: str) -> str:
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise InstallError(f"{text!r} is no network: {error}", "like --allow 10.20.0.0/16") from error
    if found.prefixlen == 0:
        raise InstallError(f"{text} is every address there is", "name the networks of the site")
    return str(found)
