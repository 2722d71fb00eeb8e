"""Shuts the calling process in before it reads what a stranger wrote: limits, no network, no writing, no programs.

Standard library only, so that the process starts in some 30 ms. Every means that the machine does not offer is named in
the answer of `shut_in`, never passed over. Numbers are those of the kernel's headers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct

MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space. The longest tokenizers are some 35 MB of JSON, which takes about ten times that as objects."""
CPU_SECONDS = 60
OPEN_FILES = 64

LIMITS, PRIVILEGES, NETWORK, FILTER = "limits", "no new privileges", "network namespace", "system call filter"
MEANS = (LIMITS, PRIVILEGES, NETWORK, FILTER)

NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000
NO_NEW_PRIVS, SET_SECCOMP, FILTER_MODE, DEATH_SIGNAL = 38, 22, 2, 1
SIGKILL = 9

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Instructions of a filter: load a word, compare and jump, return."""
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
NUMBER_AT, ARCHITECTURE_AT, FLAGS_AT = 0, 4, 32
"""Where `struct seccomp_data` holds the call's number, the architecture and the third argument's low word."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

ARCHITECTURES: dict[str, tuple[int, int, frozenset[int]]] = {
    "x86_64": (0xC000003E, 257, frozenset({
        0, 1, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 25, 28, 32, 35, 39, 60, 63, 72, 79, 89, 96, 98,
        99, 131, 158, 186, 202, 217, 218, 219, 221, 228, 229, 230, 231, 262, 267, 269, 273, 318, 332, 334, 439,
    })),
    "aarch64": (0xC00000B7, 56, frozenset({
        17, 23, 25, 29, 48, 57, 61, 62, 63, 64, 65, 66, 67, 78, 79, 80, 93, 94, 96, 98, 99, 101, 113, 114, 115, 128,
        132, 134, 135, 139, 160, 165, 169, 172, 178, 179, 214, 215, 216, 222, 223, 226, 233, 278, 291, 293, 439,
    })),
}  # fmt: skip
"""Machine → its audit number, the number of `openat`, and the calls that reading a file in Python takes.

Reading, seeking, looking, memory, signals, time, random bytes, the end. Not among them: sockets, programs, new
processes, links, names, modes.
"""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def shut_in() -> tuple[str, ...]:
    """Give up everything but reading files and writing to what is open. Returns the MEANS this machine lacks."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(DEATH_SIGNAL, SIGKILL, 0, 0, 0)
    missing = []
    if not _limited():
        missing.append(LIMITS)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        missing.append(PRIVILEGES)
    # Root needs no user namespace for it, and inside one would no longer be able to read other users' files.
    if libc.unshare(NEW_NETWORK) != 0 and libc.unshare(NEW_USER | NEW_NETWORK) != 0:
        missing.append(NETWORK)
    if not _filtered(libc):
        missing.append(FILTER)
    return tuple(missing)


def _limited() -> bool:
    limits = (
        (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_SECONDS), (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0),
    )  # fmt: skip
    try:
        for which, wanted in limits:
            hard = resource.getrlimit(which)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(which, (value, value))
    except (OSError, ValueError):
        return False
    return True


def _filtered(libc: ctypes.CDLL) -> bool:
    known = ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    raw = program(*known)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    wanted = _Program(len(raw) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    return bool(libc.prctl(SET_SECCOMP, FILTER_MODE, ctypes.byref(wanted), 0, 0) == 0)


def program(architecture: int, openat: int, allowed: frozenset[int]) -> bytes:
    """The filter: calls of another architecture kill, `openat` may only read, what is not allowed is refused."""
    calls = sorted(allowed)
    last = len(calls)
    lines = [
        (LOAD, 0, 0, ARCHITECTURE_AT),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER_AT),
        # Numbers from 2^30 on are another way to call on x86-64.
        (AT_LEAST, 0, 1, 0x40000000),
        (RETURN, 0, 0, REFUSE),
        (EQUAL, 0, 2, openat),
        (LOAD, 0, 0, FLAGS_AT),
        (ANY_BIT, last, last + 1, WRITING),  # to one of the two last lines, over the list
        *((EQUAL, last - n, 0, number) for n, number in enumerate(calls)),
        (RETURN, 0, 0, REFUSE),
        (RETURN, 0, 0, ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
