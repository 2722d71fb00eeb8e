"""Shuts the calling process in: no new privileges, no capabilities, Landlock rules, a system call filter.

Runs inside the sandboxed process just before the command, by path and with the standard library only (see
`inside._confine`). Numbers and structures are those of the kernel's `landlock.h`, `seccomp.h` and `capability.h`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls; the same on every architecture."""

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
READING = EXECUTE | READ_FILE | READ_DIR
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""Rights that a rule for a single file may name."""

FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""ABI → how many file rights the kernel knows; later ones know as many as 5."""

NO_NEW_PRIVS, SET_SECCOMP, FILTER_MODE, DROP_BOUND = 38, 22, 2, 24
CAPABILITY_VERSION = 0x20080522


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def abi() -> int:
    """The Landlock version of this kernel; 0 for none."""
    version = int(ctypes.CDLL(None, use_errno=True).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1))
    return max(0, version)


def enter(spec: str, processes: int) -> None:
    """Shut this process in as the JSON file `spec` says: {"read": […], "write": […], "filter": base16}.

    `processes` is how many more processes and threads there may be; 0 when others count them.

    Raises OSError when any part fails: then the command must not be started.
    """
    with open(spec, encoding="utf-8") as file:
        order = json.load(file)
    libc = ctypes.CDLL(None, use_errno=True)
    if processes:
        _limit_processes(processes)
    _checked(libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    _drop_capabilities(libc)
    _landlock(libc, order["read"], order["write"])
    _filter(libc, bytes.fromhex(order["filter"]))
    os.closerange(3, 1 << 16)


def _limit_processes(more: int) -> None:
    """Stop a fork storm between two looks of the watcher. The kernel counts all of this user's processes, not ours."""
    there = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == os.getuid():
                there += len(os.listdir(f"/proc/{name}/task"))
        except OSError:
            continue
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    limit = there + more if hard == resource.RLIM_INFINITY else min(there + more, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))


def _landlock(libc: ctypes.CDLL, read: list[str], write: list[str]) -> None:
    version = abi()
    if not version:
        raise OSError("the kernel has no Landlock")
    everything = (1 << FILE_RIGHTS.get(version, 16)) - 1
    rules = _Ruleset(everything, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _checked(libc.syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0), "ruleset")
    for path, rights in [*((path, READING) for path in read), *((path, everything) for path in write)]:
        _allow(libc, ruleset, path, rights & everything)
    _checked(libc.syscall(RESTRICT_SELF, ruleset, 0), "restriction")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # what is not there need not be allowed
    try:
        if not os.path.isdir(path):
            rights &= OF_FILES
        rule = _Beneath(rights, place)
        _checked(libc.syscall(ADD_RULE, ruleset, 1, ctypes.byref(rule), 0), f"rule for {path}")
    finally:
        os.close(place)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Root keeps its name and its own files, and nothing else."""
    number = 0
    while libc.prctl(DROP_BOUND, number, 0, 0, 0) == 0:
        number += 1  # ends at the first capability the kernel does not know, or at once for an ordinary user
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    _checked(libc.capset(header, none), "capabilities")


def _filter(libc: ctypes.CDLL, instructions: bytes) -> None:
    buffer = ctypes.create_string_buffer(instructions, len(instructions))
    program = _Program(len(instructions) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    _checked(libc.prctl(SET_SECCOMP, FILTER_MODE, ctypes.byref(program), 0, 0), "system call filter")


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
