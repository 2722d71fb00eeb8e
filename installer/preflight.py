"""Looks at a machine before anything is installed: rows of pass, warn or fail, each with what was found and the fix.

Every check takes what it judges as an argument, so that it can be judged without the machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from installer.__main__ import suits
from installer.checkout import Checkout

Verdict = Literal["pass", "warn", "fail"]

DISK_FAIL_GB, DISK_WARN_GB = 3.0, 10.0
"""A set-up takes about 1.5 GB with the build of llama.cpp; models and mirrors come on top."""
MEMORY_FAIL_GB, MEMORY_WARN_GB = 2.0, 6.0
OLDEST_SQLITE = (3, 51, 3)
"""Earlier ones can lose the last pages of a write-ahead log when two processes reset it at once."""
RELEASED = 1_760_000_000
"""Seconds since the epoch; a clock before this is wrong."""


@dataclass(frozen=True)
class Row:
    """One finding."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """The row as `--json` prints it."""
        return asdict(self)


def look(checkout: Checkout) -> list[Row]:
    """Every check, on this machine."""
    return [
        python(sys.version_info[:3]),
        disk(shutil.disk_usage(checkout.root).free / 1e9, str(checkout.root)),
        memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        clock(time.time()),
        temporary(_mount_options(Path("/tmp"), Path("/proc/mounts"))),  # noqa: S108
        sandbox(sandbox_output()),
        sqlite(_sqlite_version(checkout)),
    ]


def python(version: Sequence[int]) -> Row:
    """Whether the Python is one the appliance runs on."""
    found = ".".join(map(str, version))
    if suits(version[:2]):
        return Row("python", "pass", found)
    return Row("python", "fail", found, "install Python 3.11, 3.12 or 3.13")


def disk(free_gb: float, place: str) -> Row:
    """Whether there is room."""
    return _amount(
        "disk", free_gb, DISK_FAIL_GB, DISK_WARN_GB, f"free for {place}", "make room there, or move the checkout"
    )


def memory(total_gb: float) -> Row:
    """Whether there is memory enough for the box with its default model."""
    return _amount(
        "memory", total_gb, MEMORY_FAIL_GB, MEMORY_WARN_GB, "in this machine", "use a machine with more memory"
    )


def clock(now: float) -> Row:
    """Whether the clock can be right at all."""
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now >= RELEASED:
        return Row("clock", "pass", found)
    return Row(
        "clock", "warn", f"{found}, before this release", "set the clock; leases and certificates are judged by it"
    )


def temporary(options: Sequence[str]) -> Row:
    """Whether programs may run from the folder for temporary files: tests of repositories do that."""
    if "noexec" in options:
        return Row(
            "temporary files",
            "warn",
            "/tmp is mounted noexec",  # noqa: S108
            "set TMPDIR to a folder whose file system allows programs",
        )
    return Row("temporary files", "pass", "programs may run from /tmp")


def sandbox(complaint: str | None) -> Row:
    """Whether bubblewrap makes a sandbox; `complaint` is None when it is missing, empty when it works."""
    if complaint is None:
        return Row("sandbox", "fail", "bubblewrap is not installed", "apt-get install bubblewrap")
    if complaint:
        switches = "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"
        fix = f"allow unprivileged user namespaces (sysctl {switches})"
        return Row("sandbox", "warn", complaint, fix)
    return Row("sandbox", "pass", "bubblewrap makes one without network")


def sqlite(version: str | None) -> Row:
    """Whether the SQLite of the virtual environment is new enough for the ledger; None before the set-up."""
    oldest = ".".join(map(str, OLDEST_SQLITE))
    if version is None:
        return Row("sqlite", "warn", "not known before the set-up", "python3 -m installer setup, then look again")
    if tuple(map(int, version.split("."))) >= OLDEST_SQLITE:
        return Row("sqlite", "pass", version)
    return Row("sqlite", "fail", f"{version}; the ledger needs {oldest}", "python3 -m installer setup")


def _amount(name: str, gigabytes: float, fail: float, warn: float, where: str, fix: str) -> Row:
    found = f"{gigabytes:.1f} GB {where}"
    if gigabytes < fail:
        return Row(name, "fail", found, f"{fix}: at least {fail:g} GB, better {warn:g} GB")
    if gigabytes < warn:
        return Row(name, "warn", found, f"{fix}: {warn:g} GB is comfortable")
    return Row(name, "pass", found)


def _mount_options(folder: Path, table: Path) -> list[str]:
    """The mount options of the file system a folder lies on, by the longest mount point above it."""
    best: tuple[int, list[str]] = (0, [])
    try:
        lines = table.read_text("utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        _, point, _, options, *_ = line.split()
        if folder.is_relative_to(point) and len(point) >= best[0]:
            best = (len(point), options.split(","))
    return best[1]


def sandbox_output() -> str | None:
    """What bubblewrap complains about; empty when it works, None when it is missing."""
    command = ["bwrap", "--ro-bind", "/", "/", "--unshare-all", "--die-with-parent", "true"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20)
    except FileNotFoundError:
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if said.returncode == 0 else said.stderr.strip() or f"bwrap ended with status {said.returncode}"


def _sqlite_version(checkout: Checkout) -> str | None:
    code = "from pysqlite3 import dbapi2; print(dbapi2.sqlite_version)"
    try:
        said = subprocess.run([checkout.python, "-c", code], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return said.stdout.strip() or None
