"""Run in a network of its own, as root: `two_networks.py RULES`. Joins it to another by a cable.

Each has an address in the site's range (10.20.0.0/16) and one elsewhere (192.168.9.0/24). Prints who reaches whom,
before RULES and under them.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

DOORS = (8080, 8081, 22)
SERVICE = 5
"""A port of the other network."""
BOX, OTHER = 65534, 65533
"""Users: the one the rules name, and another."""
SECONDS = 0.7


def told(*words: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(words, check=True, capture_output=True)


def answered(to: str, port: int, source: str = "", user: int = 0, network: int | None = None) -> bool:
    """Whether a connection comes about, made by a child as that user, in that process's network."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if network is not None:
                with Path(f"/proc/{network}/ns/net").open() as where:
                    import ctypes

                    ctypes.CDLL(None).setns(where.fileno(), 0)
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            with socket.socket() as asking:  # create_connection would load a codec, which another user may not read
                asking.settimeout(SECONDS)
                asking.bind((source, 0))
                asking.connect((to, port))
            status = 0
        except OSError:
            pass
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    """Build both networks, ask, set the rules twice (they must be replaced whole), ask again."""
    outside = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    there = ["nsenter", "--net", "--target", str(outside.pid)]
    try:
        while Path(f"/proc/{outside.pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
            time.sleep(0.01)
        told("ip", "link", "set", "lo", "up")
        told("ip", "link", "add", "lan", "type", "veth", "peer", "name", "far")
        told("ip", "link", "set", "far", "netns", str(outside.pid))
        for own, way, name in ((1, [], "lan"), (2, there, "far")):
            for address in (f"10.20.0.{own}/16", f"192.168.9.{own}/24"):
                told(*way, "ip", "address", "add", address, "dev", name)
            told(*way, "ip", "link", "set", name, "up")
        doors = [socket.create_server(("0.0.0.0", port)) for port in DOORS]
        served = "import socket, time; door = socket.create_server(('0.0.0.0', 5)); print(flush=True); time.sleep(60)"
        far = subprocess.Popen([*there, sys.executable, "-c", served], stdout=subprocess.PIPE)
        assert far.stdout is not None
        far.stdout.readline()
        try:
            before = ways(outside.pid)
            for _ in range(2):
                told("nft", "-f", sys.argv[1])
            print(json.dumps([before, ways(outside.pid)]))
        finally:
            far.kill()
            for door in doors:
                door.close()
    finally:
        outside.kill()


def ways(outside: int) -> dict[str, bool]:
    """Who reaches whom."""
    return {
        "a door from the site": answered("10.20.0.1", 8080, "10.20.0.2", network=outside),
        "a door from elsewhere": answered("192.168.9.1", 8081, "192.168.9.2", network=outside),
        "ssh from elsewhere": answered("192.168.9.1", 22, "192.168.9.2", network=outside),
        "the site from the box": answered("10.20.0.2", SERVICE, user=BOX),
        "elsewhere from the box": answered("192.168.9.2", SERVICE, user=BOX),
        "elsewhere from others": answered("192.168.9.2", SERVICE, user=OTHER),
        "the box from the box": answered("127.0.0.1", 8080, user=BOX),
    }


if __name__ == "__main__":
    main()
