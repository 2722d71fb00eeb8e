"""What this machine offers for running untrusted code, found out by doing it, and the sandbox that follows from it.

=====  =====================================================================================================
tier   what it is
=====  =====================================================================================================
A      bubblewrap namespaces, system call filter, memory and processes counted by the kernel where it lets us
B      Landlock and a system call filter, limits per process; no sockets at all inside
C      none: nothing is run
=====  =====================================================================================================

A tier counts as usable only when a real command has run in it, saw the right answer, could not reach the network and
was stopped at a limit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.computers import bubblewrap, cgroup, landlock
from appliance.computers.pythons import Interpreter, interpreter, own
from appliance.computers.sandbox import Box, BoxedSandbox
from appliance.config import Home
from appliance.errors import FactoryError, NoSandbox
from appliance.ports import Limits
from appliance.settings import ComputersSettings

TRIAL = Limits(seconds=20.0, cpu_seconds=10.0, memory_mb=256, processes=32, disk_mb=16, output_kb=16)

LOOK = """
import socket
try:
    socket.create_connection(("192.0.2.1", 9), 0.2).close()
except TimeoutError:
    print("out: timeout")
except OSError as error:
    print("out: refused")
try:
    open("/etc/appliance-probe", "w").close()
    print("host: written")
except OSError:
    print("host: kept")
print("said", open("here.txt").read())
"""
"""192.0.2.1 is a documentation address: nobody is there. A machine without network refuses at once, one with a
network lets the attempt time out."""

FILL = "open('full', 'wb').write(bytes(64 << 20))"

UBUNTU_PROFILE = (
    "/etc/apparmor.d/bwrap: abi <abi/4.0>, include <tunables/global> "
    "profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, include if exists <local/bwrap> }"
)


@dataclass(frozen=True)
class TierResult:
    """Whether one tier works here, and if not why and what would mend it."""

    tier: Literal["A", "B"]
    usable: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class ProbeResult:
    """What the machine offers. `tier` is the best usable one."""

    tier: Literal["A", "B", "C"]
    tiers: tuple[TierResult, ...]
    notes: tuple[str, ...] = ()

    def of(self, tier: str) -> TierResult:
        """The result for tier A or B."""
        return next(result for result in self.tiers if result.tier == tier)


def probe(home: Home, python: str = "") -> ProbeResult:
    """Try both tiers for real; takes well under a second each. Starts nothing that outlives it."""
    return _judge([result for result, _ in _trials(home, interpreter(python))])


def open_sandbox(settings: ComputersSettings, home: Home) -> BoxedSandbox:
    """The sandbox the settings ask for.

    Raises:
        NoSandbox: this machine has none, or not the tier asked for; the hint says what would mend it.
        ConfigError: `computers.python` is not a working Python.
    """
    python = interpreter(settings.python)
    tried: list[TierResult] = []
    for tier, find in _finders(home):
        if settings.tier in ("auto", tier):
            result, box = _trial(tier, find, python)
            if box is not None:
                return BoxedSandbox(box)
            tried.append(result)
    what = (
        "no usable sandbox on this machine"
        if settings.tier == "auto"
        else f"sandbox tier {settings.tier} is not usable"
    )
    raise NoSandbox(
        f"{what}, so no droid and no test is run: {'; '.join(f'{r.tier}: {r.detail}' for r in tried)}",
        " or ".join(result.fix for result in tried if result.fix) or "run `appliance doctor`",
    )


Finder = Callable[[Interpreter], "Box | None"]


def _finders(home: Home) -> tuple[tuple[Literal["A", "B"], Finder], ...]:
    return ("A", bubblewrap.find), ("B", lambda python: landlock.find(python, home.computers))


def _trials(home: Home, python: Interpreter) -> list[tuple[TierResult, Box | None]]:
    return [_trial(tier, find, python) for tier, find in _finders(home)]


def _judge(results: list[TierResult]) -> ProbeResult:
    best: Literal["A", "B", "C"] = next((result.tier for result in results if result.usable), "C")
    notes = []
    controllers = cgroup.find()
    if not controllers:
        notes.append(f"memory and processes are limited per process and by counting: {controllers.why_not}")
    return ProbeResult(best, tuple(results), tuple(notes))


def _trial(tier: Literal["A", "B"], find: Finder, python: Interpreter) -> tuple[TierResult, Box | None]:
    try:
        box = find(python)
        if box is None:
            return TierResult(tier, False, *_absent(tier)), None
        problem = _try(BoxedSandbox(box))
    except (FactoryError, OSError, RuntimeError) as error:
        problem, box = str(error), None
    if problem or box is None:
        return TierResult(tier, False, problem, _remedy(tier, problem)), None
    return TierResult(tier, True, box.describe()), box


def _try(sandbox: BoxedSandbox) -> str:
    """Run for real; returns what is wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="appliance-probe-") as folder:
        Path(folder, "here.txt").write_text("hello")
        ran = sandbox.run([own().executable, "-I", "-c", LOOK], tree=Path(folder), limits=TRIAL)
        said = ran.stdout.decode("utf-8", "replace").split("\n")
        if ran.exit_code != 0 or "said hello" not in said:
            return f"a trial command failed: {ran.stderr.decode('utf-8', 'replace').strip()[-300:] or ran.limit}"
        if "out: refused" not in said:
            return "the network can be reached from inside"
        if "host: kept" not in said:
            return "the host's files can be written from inside"
        filled = sandbox.run([own().executable, "-I", "-c", FILL], tree=Path(folder), limits=TRIAL)
        if filled.limit != "disk":
            return "the limit on disk space does not hold"
    return ""


def _absent(tier: str) -> tuple[str, str]:
    if tier == "A":
        return "bubblewrap is not installed", "install it: apt-get install bubblewrap"
    return "the kernel has no Landlock", "use a kernel from 5.13 on, with `landlock` in its lsm= list"


def _remedy(tier: str, problem: str) -> str:
    if tier == "B":
        return "use a kernel from 5.13 on, with `landlock` in its lsm= list, and install libseccomp2"
    if "libseccomp" in problem:
        return "install it: apt-get install libseccomp2"
    restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    if restricted.exists() and restricted.read_text().strip() == "1":
        return f"allow bwrap its namespaces with an AppArmor profile ({UBUNTU_PROFILE}), then apparmor_parser -r on it"
    clone = Path("/proc/sys/kernel/unprivileged_userns_clone")
    if clone.exists() and clone.read_text().strip() == "0":
        return "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"
    spaces = Path("/proc/sys/user/max_user_namespaces")
    if spaces.exists() and spaces.read_text().strip() == "0":
        return "allow user namespaces: sysctl user.max_user_namespaces=10000"
    return (
        "try `bwrap --unshare-all --ro-bind / / true` by hand; inside a container, run it with user namespaces allowed"
    )
