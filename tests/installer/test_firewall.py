"""Firewall rules: understood by nft, and effective in a network of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.target import firewall
from installer.target.places import Places
from installer.target.site import Site

needs_nft = pytest.mark.skipif(
    firewall.program() is None or os.geteuid() != 0, reason="nftables is not installed, or this is not root"
)

NETWORKS = Path(__file__).with_name("two_networks.py")


@needs_nft
@pytest.mark.parametrize(
    "allow", [(), ("10.20.0.0/16",), ("fd00::/16",), ("10.20.0.0/16", "fd00::/16", "10.30.0.0/24")]
)
@pytest.mark.parametrize("user", ["", "nobody"])
def test_nft_understands_the_rules(allow: tuple[str, ...], user: str, tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(firewall.rules((8080, 8081), allow, user))
    said = subprocess.run(["unshare", "--net", "nft", "-c", "-f", tmp_path / "rules"], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr


@needs_nft
def test_the_doors_are_open_to_the_site_alone_and_the_box_reaches_the_site_alone(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text(firewall.rules((8080, 8081), ("10.20.0.0/16",), "nobody"))
    words = ["unshare", "--net", sys.executable, NETWORKS, tmp_path / "rules"]
    said = subprocess.run(words, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    before, after = json.loads(said.stdout)
    assert all(before.values()), before
    assert after == {
        "a door from the site": True, "a door from elsewhere": False, "ssh from elsewhere": True,
        "the site from the box": True, "elsewhere from the box": False, "elsewhere from others": True,
        "the box from the box": True,
    }  # fmt: skip


def test_ports_are_those_of_the_settings(tmp_path: Path) -> None:
    places = Places(tmp_path / "opt", tmp_path)
    assert firewall.ports(places) == (8080, 8081)
    (tmp_path / "appliance.toml").write_text("[gateway]\nport = 443\n")
    assert firewall.ports(places) == (443, 8081)
    (tmp_path / "appliance.toml").write_text("[gateway]\nport = nonsense\n")
    with pytest.raises(InstallError, match="cannot be read"):
        firewall.ports(places)


def test_writing_the_rules_changes_nothing_and_removing_them_is_safe_to_repeat(tmp_path: Path) -> None:
    places = Places(tmp_path / "opt", tmp_path / "home")
    made = firewall.write(places, Site(user="nobody", allow=("10.20.0.0/16",)))
    assert "10.20.0.0/16" in made.read_text()
    made.unlink()
    assert not firewall.remove(places)
