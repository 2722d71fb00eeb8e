"""Runs a box as units of systemd, where that is the machine's first process and root installs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from installer.errors import InstallError
from installer.target import units
from installer.target.places import Places, settle
from installer.target.site import Site, recorded
from installer.terminal import Terminal

FOLDER = Path("/etc/systemd/system")
START_SECONDS = 240.0
STOP_SECONDS = 120.0
AS_WRITTEN = "as written"
RESTARTS = 3
"""Starts in vain after which waiting longer is of no use."""
SERVICES = tuple(f"appliance-{one.name}.service" for one in units.PROCESSES)


def there() -> bool:
    """Whether systemd runs this machine and may be told what to do."""
    return os.geteuid() == 0 and Path("/run/systemd/system").is_dir()


def usable(places: Places, release: Path | None = None) -> bool:
    """Whether the box is to run as units: it has a user of its own, and its release can tell systemd how it is."""
    site = recorded(places)
    if site is None or not site.user or not there():
        return False
    return release is None or any(release.glob("venv/lib/python3*/site-packages/appliance/cli/notifying.py"))


def install(places: Places, site: Site, folder: Path = FOLDER) -> list[str]:
    """Write the units that differ from what is there, and have them started with the machine; their names."""
    made = units.units(places, site, gpu=Path("/dev/nvidiactl").exists())
    changed = [name for name, text in made.items() if not _same(folder / name, text)]
    for name in changed:
        half = folder / f".{name}.part"
        half.write_text(made[name], "utf-8")
        half.chmod(0o644)
        half.replace(folder / name)
    if changed:
        settle(folder)
        _told("daemon-reload")
        _told("enable", "--quiet", *(name for name in (units.TARGET, units.FIREWALL) if name in made))
    return changed


def standing(made: Mapping[str, str], folder: Path = FOLDER) -> dict[str, str]:
    """How each unit's file stands to what would be written."""
    return {
        name: AS_WRITTEN if _same(folder / name, text) else "differs" if (folder / name).exists() else "missing"
        for name, text in made.items()
    }


def remove(folder: Path = FOLDER) -> list[str]:
    """Remove the units; the names of those that were there."""
    ours = [units.TARGET, units.FIREWALL, "appliance-prepare.service", *SERVICES]
    found = [name for name in ours if (folder / name).exists()]
    if found and there():
        _told("stop", units.FIREWALL, fails=False)  # it ran once, and would be remembered as active
        _told("disable", "--quiet", *(name for name in found if name in {units.TARGET, units.FIREWALL}))
    for name in found:
        (folder / name).unlink()
    if found and there():
        _told("daemon-reload")
        _told("reset-failed", "appliance-*", fails=False)
    return found


def installed(folder: Path = FOLDER) -> bool:
    """Whether the box's units are there to be told something."""
    return there() and (folder / units.TARGET).exists()


def pid(folder: Path = FOLDER) -> int | None:
    """The process id of one of the box's processes, None when none runs."""
    if not installed(folder):
        return None
    shown = [one for one in _shown() if one.get("ActiveState") not in {"inactive", "failed"}]
    numbers = [int(one["MainPID"]) for one in shown if one.get("MainPID", "0") != "0"]
    return numbers[0] if numbers else 1 if shown else None  # between two starts it is systemd that has the box


def start(places: Places, terminal: Terminal | None = None) -> None:
    """Start all and wait until each is ready: a unit counts as started once its process said so.

    Raises:
        InstallError: one is not, with its state and its last words.
    """
    site = recorded(places)
    if site is None:
        raise InstallError("nothing is recorded of the site", "run install again")
    install(places, site)
    _told("reset-failed", "appliance-*", fails=False)
    _told("restart", "appliance-prepare.service")
    _told("start", "--no-block", units.TARGET)
    began = time.monotonic()
    while waited := [one for one in _shown() if one.get("ActiveState") != "active"]:
        seconds = time.monotonic() - began
        lost = [one for one in waited if one.get("ActiveState") == "failed" or int(one.get("NRestarts", 0)) >= RESTARTS]
        if lost or seconds > START_SECONDS:
            which = (lost or waited)[0]
            name, state, result = (which.get(key, "?") for key in ("Id", "ActiveState", "Result"))
            raise InstallError(f"{name} is {state} ({result}) after {seconds:.0f} s", _where(places, name))
        if terminal is not None:
            terminal.working("start", seconds, None, "waiting until every process is ready")
        time.sleep(0.1)


def ready() -> bool:
    """Whether every process said that it is."""
    return all(one.get("ActiveState") == "active" for one in _shown())


def stop() -> None:
    """Stop all, the doors first. Raises InstallError when one does not end."""
    _told("stop", units.TARGET, "appliance-prepare.service", *SERVICES, seconds=STOP_SECONDS)


def _shown() -> list[dict[str, str]]:
    """How each service stands, as systemd's own words by name."""
    said = _told("show", "--property=Id,ActiveState,Result,NRestarts,MainPID", *SERVICES, fails=False)
    blocks = [block.splitlines() for block in said.strip().split("\n\n")]
    found = [dict(line.split("=", 1) for line in block if "=" in line) for block in blocks]
    return found if len(found) == len(SERVICES) else [{"Id": units.TARGET, "ActiveState": "unknown"}]


def _where(places: Places, name: str) -> str:
    short = name.removeprefix("appliance-").removesuffix(".service")
    return f"see {places.home / 'logs' / (short + '.log')} and `journalctl -u {name}`"


def _same(file: Path, text: str) -> bool:
    try:
        return file.read_text("utf-8") == text
    except OSError:
        return False


def _told(verb: str, *words: str, fails: bool = True, seconds: float = 60.0) -> str:
    """Run systemctl. Raises InstallError when it fails, unless that is an answer, too."""
    command: Sequence[str] = ["systemctl", verb, *words]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"systemctl {verb}: {error}", "`systemctl status` shows how it stands") from error
    if fails and said.returncode != 0:
        last = (said.stderr.strip().splitlines() or [f"status {said.returncode}"])[0]
        raise InstallError(f"systemctl {verb}: {last}", "`systemctl status 'appliance-*'` shows how it stands")
    return said.stdout
