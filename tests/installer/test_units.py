"""The units of an installed box: each process gets what it needs, and systemd's own tool measures what that exposes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.cli.processes import NAMES
from installer.target.places import Places
from installer.target.site import Site
from installer.target.units import PROCESSES, TARGET, units

PLACES = Places(Path("/opt/appliance"), Path("/var/lib/appliance"))
SITE = Site(user="appliance", allow=("10.20.0.0/16", "fd00:1::/64"), firewall=True)
LIMITS = {"appliance-line.service": 28}
"""Exposure times ten; 15 where nothing stands here. The line makes sandboxes: see the docstring of the units."""


def lines(unit: str, site: Site = SITE, gpu: bool = False) -> list[str]:
    return units(PLACES, site, gpu)[f"appliance-{unit}.service"].splitlines()


def test_every_process_that_up_starts_has_a_unit_in_the_same_order() -> None:
    assert tuple(one.name for one in PROCESSES) == NAMES
    wants = next(line for line in units(PLACES, SITE)[TARGET].splitlines() if line.startswith("Wants="))
    assert wants == "Wants=" + " ".join(f"appliance-{name}.service" for name in NAMES)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("gpu", [False, True])
def test_the_exposure_of_each_unit_is_low_by_systemds_own_measure(gpu: bool, tmp_path: Path) -> None:
    found = {}
    for name, text in units(PLACES, SITE, gpu).items():
        (tmp_path / name).write_text(text)
    for name in units(PLACES, SITE, gpu):
        if name.endswith(".service"):
            limit = LIMITS.get(name, 15)
            words = ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={limit}"]
            said = subprocess.run(
                [*words, tmp_path / name], capture_output=True, text=True,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            )  # fmt: skip
            found[name] = said.returncode, re.findall(r"exposure level .*", said.stdout), said.stderr
    assert {name: result for name, result in found.items() if result[0] != 0} == {}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    places = Places(tmp_path / "opt", tmp_path / "home")
    program = tmp_path / "opt/current/venv/bin/appliance"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    made = units(places, Site(user="root", allow=SITE.allow, memory=("line=4G",)), gpu=True)
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(tmp_path / name for name in made)],
        capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    ours = [line for line in said.stderr.splitlines() if "appliance" in line]
    assert ours == [], said.stderr


def test_only_this_machine_and_the_sites_networks_can_be_talked_to() -> None:
    for name in ("gateway", "console", "line", "engines"):
        assert "IPAddressDeny=any" in lines(name)
        assert "IPAddressAllow=localhost 10.20.0.0/16 fd00:1::/64" in lines(name)
        assert "IPAddressAllow=localhost" in lines(name, Site(user="appliance"))


def test_what_needs_no_network_has_none() -> None:
    for name in ("learning", "prepare"):
        assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(lines(name))
        assert not [line for line in lines(name) if line.startswith("IPAddressAllow")]


def test_engines_cannot_read_secrets_and_nobody_the_installers_records() -> None:
    hidden = next(line for line in lines("engines") if line.startswith("InaccessiblePaths="))
    assert "-/var/lib/appliance/secrets" in hidden
    for one in PROCESSES:
        hidden = next(line for line in lines(one.name) if line.startswith("InaccessiblePaths="))
        assert "-/opt/appliance/state" in hidden and "-/opt/appliance/snapshots" in hidden


def test_only_the_line_may_make_namespaces_and_only_a_gpus_engines_see_its_devices() -> None:
    without = [one.name for one in PROCESSES if "RestrictNamespaces=yes" not in lines(one.name)]
    assert without == ["line"]
    assert "DeviceAllow=char-nvidia* rw" in lines("engines", gpu=True)
    assert "PrivateDevices=yes" not in lines("engines", gpu=True) and "PrivateDevices=yes" in lines("engines")
    others = ["".join(lines(one.name, gpu=True)) for one in PROCESSES if one.name != "engines"]
    assert not [text for text in others if "DeviceAllow" in text]


def test_a_site_says_how_much_memory_a_process_gets() -> None:
    site = Site(user="appliance", memory=("engines=70%", "line=4G"))
    assert "MemoryMax=70%" in lines("engines", site) and "MemoryMax=4G" in lines("line", site)
    assert "MemoryMax=25%" in lines("gateway", site)


def test_only_line_and_console_write_to_the_sites_folders_which_need_not_be_there() -> None:
    site = Site(user="appliance", folders=("/mnt/backups",))
    wide = [one.name for one in PROCESSES if "-/mnt/backups" in "".join(lines(one.name, site))]
    assert wide == ["line", "console"]


def test_answers_that_drain_still_have_their_engines() -> None:
    after = next(line for line in lines("gateway") if line.startswith("After="))
    assert "appliance-engines.service" in after  # what starts later stops earlier
