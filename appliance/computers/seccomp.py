"""Which system calls a sandboxed command may not make, as a BPF program the kernel loads.

The default is to allow: tests of ordinary repositories must run. Refused is what reaches past the sandbox (mounts,
namespaces, other processes' memory, keys, kernel modules, tracing) or is a frequent way into the kernel (bpf, io_uring,
userfaultfd, perf). `clone3` answers "not implemented" because its flags lie in memory, where no filter can look; the C
library then falls back to `clone`, whose flags are checked.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

REFUSED = (
    "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsmount", "fsconfig", "fspick", "move_mount", "open_tree",
    "mount_setattr", "setns", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp",
    "pidfd_getfd", "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "kexec_load", "kexec_file_load",
    "init_module", "finit_module", "delete_module", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "iopl", "ioperm", "lookup_dcookie",
    "nfsservctl", "name_to_handle_at", "open_by_handle_at", "fanotify_init", "vhangup", "personality", "uselib",
    "move_pages", "migrate_pages", "mbind", "set_mempolicy", "modify_ldt",
)  # fmt: skip
"""Answered with EPERM. Names a kernel or library does not know are left out."""

NEW_NAMESPACES = (0x00000080, 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""

FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
"""Kinds of socket allowed where the network itself is cut off (tier A)."""

SIGNALLING = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")
"""Refused in tier B on kernels whose Landlock cannot keep signals inside."""

TIOCSTI = 0x5412
TIOCLINUX = 0x541C


def program(*, sockets: bool, signals: bool) -> bytes:
    """The filter as BPF instructions for `bwrap --seccomp` or prctl.

    Args:
        sockets: allow local and internet sockets; without it only socket pairs can be made.
        signals: allow signals to other processes.

    Raises:
        OSError, RuntimeError: libseccomp is missing or refuses.
    """
    import pyseccomp as sc  # loads the C library, so only where a filter is wanted

    filter_: Any = sc.SyscallFilter(sc.ALLOW)
    refuse, unknown = sc.ERRNO(errno.EPERM), sc.ERRNO(errno.ENOSYS)
    for name in REFUSED if signals else REFUSED + SIGNALLING:
        _add(sc, filter_, refuse, name)
    for flag in NEW_NAMESPACES:
        for name in ("clone", "unshare"):
            _add(sc, filter_, refuse, name, sc.Arg(0, sc.MASKED_EQ, flag, flag))
    _add(sc, filter_, unknown, "clone3")
    for request in (TIOCSTI, TIOCLINUX):
        _add(sc, filter_, refuse, "ioctl", sc.Arg(1, sc.MASKED_EQ, 0xFFFFFFFF, request))
    _sockets(sc, filter_, sockets)
    handle = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(handle), "wb") as into:
            filter_.export_bpf(into)
        return os.pread(handle, 1 << 20, 0)
    finally:
        os.close(handle)


def _sockets(sc: Any, filter_: Any, allowed: bool) -> None:
    refuse = sc.ERRNO(errno.EAFNOSUPPORT if allowed else errno.EPERM)
    if not allowed:
        _add(sc, filter_, refuse, "socket")
        _add(sc, filter_, refuse, "socketpair", sc.Arg(0, sc.NE, socket.AF_UNIX))
        return
    for name in ("socket", "socketpair"):
        lowest = min(FAMILIES)
        _add(sc, filter_, refuse, name, sc.Arg(0, sc.LT, lowest))
        for family in range(lowest, max(FAMILIES)):
            if family not in FAMILIES:
                _add(sc, filter_, refuse, name, sc.Arg(0, sc.EQ, family))
        _add(sc, filter_, refuse, name, sc.Arg(0, sc.GT, max(FAMILIES)))


def _add(sc: Any, filter_: Any, action: int, name: str, *conditions: Any) -> None:
    try:
        number = sc.resolve_syscall(sc.Arch.NATIVE, name)
    except (OSError, ValueError, RuntimeError):
        return  # this architecture or library does not have it: nothing to refuse
    if number is not None and number >= 0:
        filter_.add_rule(action, number, *conditions)
