"""A network namespace of a test's own: box, git and servers see a loopback and nothing else."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


class OwnNetwork:
    """`left` counts what wanted to leave the machine: packets and connections for which there was no way."""

    def left(self) -> int:
        net = Path("/proc/thread-self/net")
        names, values = (line.split()[1:] for line in (net / "snmp").read_text().splitlines() if line.startswith("Ip:"))
        newer = dict(line.split() for line in (net / "snmp6").read_text().splitlines())
        return int(dict(zip(names, values, strict=True))["OutNoRoutes"]) + int(newer["Ip6OutNoRoutes"])


@contextmanager
def own_network() -> Iterator[OwnNetwork | None]:
    """This thread, and what it starts, in a network of their own; None where the machine does not allow it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as before:  # noqa: PTH123 - a descriptor that keeps the old one
        if libc.unshare(CLONE_NEWNET) != 0:
            yield None
            return
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
                fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
            yield OwnNetwork()
        finally:
            if libc.setns(before.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
