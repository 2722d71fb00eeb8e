"""The units of an installed box, written from one description: which process may do what, and how much.

A process gets what it was seen to need and nothing else. `systemd-analyze security --offline=true` gives each an
exposure of at most 1.5, the line 2.8; a test holds them to it. What is left open, and why:

- All read `/proc`: the ledger tells living processes by their start time, engines count the machine's memory.
- *line* runs repositories' own tests in sandboxes of bubblewrap, so it may make namespaces, name and mount in them, and
  keeps an unmasked `/proc` (the kernel refuses a fresh one where the old one is masked). It has no capability and is
  no root: what it mounts exists in namespaces of its own only. Programs in sandboxes may write code to memory.
- *engines* maps models; with a GPU it sees the devices of that driver and no others.
- *learning* has no network at all.

Names of directives: systemd.exec(5), systemd.resource-control(5), as of version 249.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from installer.target import firewall
from installer.target.places import Places
from installer.target.site import Site

TARGET = "appliance.target"
FIREWALL = "appliance-firewall.service"
WATCHDOG_SECONDS = 120
"""Without an answer to its own probe for so long a process is killed and started anew."""

Lines = list[tuple[str, str]]


@dataclass(frozen=True)
class Process:
    """What one process needs. `memory` is its ceiling, a share of the machine's unless the site says otherwise."""

    name: str
    what: str
    memory: str
    after: tuple[str, ...] = ()
    network: bool = True
    writes: tuple[str, ...] = ("",)
    """Folders below the home; "" is all of it."""
    hidden: tuple[str, ...] = ()
    """Places below the home that it has no business with."""
    outside: bool = False
    """Whether it writes to the site's folders, too."""
    sandboxes: bool = False
    devices: bool = False
    once: bool = False


PRIVATE = ("secrets", "ledger.db", "learning.duckdb", "mirrors", "media", "evidence", "backups")
PREPARE = Process("prepare", "folders, secrets and ledger of the home", "50%", network=False, once=True)
PROCESSES = (
    Process("engines", "one inference server for each loaded model", "90%",
            writes=("run", "logs", "models", "spool"), hidden=PRIVATE, devices=True),
    Process("gateway", "the one door to the models", "25%", after=("engines",)),
    Process("line", "takes work from the ledger and runs stages in sandboxes", "75%",
            sandboxes=True, outside=True),
    Process("learning", "the learning store, and questions about it", "40%", network=False),
    Process("console", "the operator's pages and JSON API", "25%", outside=True),
)  # fmt: skip
"""In the order they are started."""

SEALED: Lines = [
    ("NoNewPrivileges", "yes"), ("CapabilityBoundingSet", ""), ("AmbientCapabilities", ""), ("UMask", "0077"),
    ("ProtectSystem", "strict"), ("ProtectHome", "yes"), ("PrivateTmp", "yes"), ("ProtectClock", "yes"),
    ("ProtectKernelModules", "yes"), ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"), ("LockPersonality", "yes"), ("PrivateMounts", "yes"), ("KeyringMode", "private"),
    ("RemoveIPC", "yes"),
    ("SystemCallArchitectures", "native"), ("SystemCallErrorNumber", "EPERM"), ("DevicePolicy", "closed"),
]  # fmt: skip
"""What all of them are denied."""
USUAL: Lines = [
    ("ProtectProc", "invisible"), ("ProtectKernelTunables", "yes"), ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"), ("PrivateUsers", "yes"), ("RestrictNamespaces", "yes"),
    ("ProtectHostname", "yes"), ("MemoryDenyWriteExecute", "yes"),
    ("SystemCallFilter", "@system-service"), ("SystemCallFilter", "~@privileged @resources"),
]  # fmt: skip
SANDBOXING: Lines = [
    ("Delegate", "memory pids"),
    ("ProtectProc", "invisible"),
    ("PrivateUsers", "yes"),
    ("SystemCallFilter", "@system-service @mount capset chroot pivot_root sethostname"),
    ("SystemCallFilter", "~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap @resources"),
]


def units(places: Places, site: Site, gpu: bool = False) -> dict[str, str]:
    """Name → text of every unit. `gpu` says that engines may use the driver's devices."""
    made = {f"appliance-{one.name}.service": service(one, places, site, gpu) for one in (PREPARE, *PROCESSES)}
    guard = {FIREWALL: _firewall(places)} if site.firewall else {}
    return {TARGET: _target(), **made, **guard}


def service(one: Process, places: Places, site: Site, gpu: bool = False) -> str:
    """The unit of one process."""
    return _text([
        ("Unit", _order(one)),
        ("Service", [*_running(one, places, site), *_reach(one, site), *_files(one, places, site), *_sealed(one, gpu)]),
    ])  # fmt: skip


def _firewall(places: Places) -> str:
    """Sets the site's rules before there is a network; the one unit of root's, with the one right it needs."""
    kept = [line for line in [*SEALED, *USUAL] if line[0] not in {"CapabilityBoundingSet", "PrivateUsers"}]
    return _text([
        ("Unit", [("Description", "The appliance: firewall rules"), ("DefaultDependencies", "no"),
                  ("After", "local-fs.target"), ("Before", "network-pre.target"), ("Wants", "network-pre.target"),
                  ("ConditionPathExists", str(firewall.file(places)))]),
        ("Service", [("Type", "oneshot"), ("RemainAfterExit", "yes"),
                     ("ExecStart", f"/usr/sbin/nft -f {firewall.file(places)}"),
                     ("CapabilityBoundingSet", "CAP_NET_ADMIN"), ("RestrictAddressFamilies", "AF_NETLINK"),
                     ("IPAddressDeny", "any"), ("PrivateDevices", "yes"), *kept]),
        ("Install", [("WantedBy", "sysinit.target")]),
    ])  # fmt: skip


def _target() -> str:
    wants = " ".join(f"appliance-{one.name}.service" for one in PROCESSES)
    return _text([
        ("Unit", [("Description", "The appliance: a software factory in one box"), ("Wants", wants)]),
        ("Install", [("WantedBy", "multi-user.target")]),
    ])  # fmt: skip


def _order(one: Process) -> Lines:
    after = ["network.target", *(["appliance-prepare.service"] if not one.once else [])]
    lines = [
        ("Description", f"The appliance: {one.what}"),
        ("PartOf", TARGET),
        ("After", " ".join([*after, *(f"appliance-{name}.service" for name in one.after)])),
    ]
    if not one.once:
        lines += [("Requires", "appliance-prepare.service"), ("StartLimitIntervalSec", "600"),
                  ("StartLimitBurst", "10")]  # fmt: skip
    return lines


def _running(one: Process, places: Places, site: Site) -> Lines:
    program = f"{places.current}/venv/bin/appliance --home {places.home}"
    always: Lines = [
        ("User", site.user), ("Group", site.user), ("WorkingDirectory", str(places.home)),
        ("Environment", f"HOME={places.home}"), ("UnsetEnvironment", "TMPDIR"),
        ("MemoryMax", site.ceiling(one.name, one.memory)), ("TasksMax", "4096"), ("LimitNOFILE", "65536"),
    ]  # fmt: skip
    if one.once:
        return [("Type", "oneshot"), ("RemainAfterExit", "yes"), ("ExecStart", f"{program} init"), *always]
    return [
        ("Type", "notify"), ("NotifyAccess", "all"), ("ExecStart", f"{program} serve {one.name}"),
        ("WatchdogSec", str(WATCHDOG_SECONDS)), ("Restart", "always"), ("RestartSec", "1"),
        ("TimeoutStartSec", "180"), ("TimeoutStopSec", "90"), ("KillMode", "mixed"), *always,
    ]  # fmt: skip


def _reach(one: Process, site: Site) -> Lines:
    if not one.network:
        return [("PrivateNetwork", "yes"), ("RestrictAddressFamilies", "AF_UNIX"), ("IPAddressDeny", "any")]
    return [
        ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6" + (" AF_NETLINK" if one.sandboxes else "")),
        ("IPAddressDeny", "any"),
        ("IPAddressAllow", " ".join(["localhost", *site.allow])),
    ]


def _files(one: Process, places: Places, site: Site) -> Lines:
    writes = [str(places.home / name) if name else str(places.home) for name in one.writes]
    writes += [f"-{folder}" for folder in site.folders if one.outside]  # one that is not mounted stops nothing
    lines = [("ReadOnlyPaths", str(places.prefix)), ("ReadWritePaths", " ".join(writes))]
    records = [places.state, places.snapshots, places.staging, *(places.home / name for name in one.hidden)]
    return [*lines, ("InaccessiblePaths", " ".join(f"-{place}" for place in records))]


def _sealed(one: Process, gpu: bool) -> Lines:
    if one.sandboxes:
        return [*SEALED, *SANDBOXING, ("PrivateDevices", "yes")]
    if one.devices and gpu:  # the driver's code is written to memory while it runs
        own = [line for line in USUAL if line[0] != "MemoryDenyWriteExecute"]
        return [*SEALED, *own, ("DeviceAllow", "char-nvidia* rw")]
    return [*SEALED, *USUAL, ("PrivateDevices", "yes")]


def _text(sections: Sequence[tuple[str, Lines]]) -> str:
    return "\n".join(f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in lines) for name, lines in sections)
