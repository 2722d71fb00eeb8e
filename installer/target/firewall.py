"""Rules for nftables that a site may have: who may come to the box's two doors, and where its user may go.

A table of its own, so other rules of the machine stay as they are, ssh's among them. It is replaced in one transaction.
"""

from __future__ import annotations

import ipaddress
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

from installer.errors import InstallError
from installer.target.places import Places
from installer.target.site import Site

TABLE = "inet appliance"
DOORS = {"gateway": 8080, "console": 8081}
"""Sections of the settings that have a `port`, and its default."""


def file(places: Places) -> Path:
    """Where the rules are kept."""
    return places.state / "firewall.nft"


def ports(places: Places) -> tuple[int, ...]:
    """The ports of the doors, as the settings say. Raises InstallError when these cannot be read."""
    settings = places.home / "appliance.toml"
    try:
        found = tomllib.loads(settings.read_text("utf-8")) if settings.exists() else {}
        return tuple(sorted({int(found.get(name, {}).get("port", usual)) for name, usual in DOORS.items()}))
    except (OSError, ValueError, AttributeError) as error:
        raise InstallError(f"{settings} cannot be read: {error}", "mend it, or move it away") from error


def rules(doors: Sequence[int], allow: Sequence[str], user: str = "") -> str:
    """The rules as text for `nft -f`.

    Args:
        doors: TCP ports; only this machine and `allow` may come to them.
        allow: networks (CIDR), of IPv4 and IPv6.
        user: may talk to this machine and `allow` only; "" where the box has no user of its own.
    """
    networks = [ipaddress.ip_network(one) for one in allow]
    families = (("ip", [str(one) for one in networks if one.version == 4]),
                ("ip6", [str(one) for one in networks if one.version == 6]))  # fmt: skip
    there = ", ".join(str(port) for port in doors)
    come = [f"tcp dport {{ {there} }} {family} saddr {{ {', '.join(names)} }} accept"
            for family, names in families if names]  # fmt: skip
    go = [f'meta skuid "{user}" {family} daddr {{ {", ".join(names)} }} accept' for family, names in families if names]
    lines = [
        f"table {TABLE}",
        f"delete table {TABLE}",
        f"table {TABLE} {{",
        "  chain doors {",
        "    type filter hook input priority filter; policy accept;",
        "    iifname lo accept",
        *(f"    {one}" for one in come),
        f"    tcp dport {{ {there} }} drop",
        "  }",
        *(["  chain leaving {", "    type filter hook output priority filter; policy accept;", "    oifname lo accept",
           "    ct state established,related accept", *(f"    {one}" for one in go),
           f'    meta skuid "{user}" reject', "  }"] if user else []),
        "}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def write(places: Places, site: Site) -> Path:
    """Write the rules; nothing changes by that. Returns the file."""
    made = file(places)
    made.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    half = made.with_suffix(".part")
    half.write_text(rules(ports(places), site.allow, site.user), "utf-8")
    half.replace(made)
    return made


def apply(places: Places, site: Site) -> None:
    """Have the kernel go by the rules. Raises InstallError, and nothing was changed then."""
    _nft("-f", str(write(places, site)))


def remove(places: Places) -> bool:
    """Take the rules out of the kernel and remove their file; whether there were any."""
    made = file(places)
    if not made.exists():
        return False
    if program() is not None:
        _nft("-f", "-", given=f"table {TABLE}\ndelete table {TABLE}\n")  # naming it first makes it be there
    made.unlink()
    return True


def program() -> str | None:
    """Where nft is, or None."""
    return shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")


def _nft(*words: str, given: str | None = None) -> None:
    found = program()
    if found is None:
        raise InstallError("the firewall cannot be set: nft is missing", "apt-get install nftables, or go without")
    said = subprocess.run([found, *words], input=given, capture_output=True, text=True, errors="replace")
    if said.returncode != 0:
        last = (said.stderr.strip().splitlines() or ["no reason given"])[0]
        raise InstallError(
            f"the firewall cannot be set: {last}", "nothing was changed; `nft -c -f FILE` shows the line"
        )
