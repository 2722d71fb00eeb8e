"""What the operating system must offer, found by probing, and the one apt command that brings what is missing."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from installer.checkout import Checkout
from installer.errors import InstallError
from installer.terminal import Terminal, run

PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where Debian's programs lie; servers are not on every user's search path."""

STARTERS = ("deb-systemd-helper", "deb-systemd-invoke", "invoke-rc.d", "systemctl", "update-rc.d")
"""What a package's scripts call to start its service now and at every boot."""


@dataclass(frozen=True)
class Need:
    """One thing, why it is needed, the Debian package that has it, and the probe that finds it."""

    name: str
    why: str
    package: str
    present: Callable[[], bool]


def needs(*, build: bool, venv: bool) -> list[Need]:
    """Everything needed: with `build` to compile the llama.cpp wheel, with `venv` to make a virtual environment."""
    always = [
        Need("bwrap", "the sandbox droids and tests run in", "bubblewrap", _program("bwrap")),
        Need("git", "mirrors and checkouts", "git", _program("git")),
        Need("libseccomp.so.2", "system call filters of the sandbox", "libseccomp2", _library("libseccomp.so.2")),
        Need("libgomp.so.1", "threads of llama-server", "libgomp1", _library("libgomp.so.1")),
        Need("libstdc++.so.6", "llama-server and DuckDB", "libstdc++6", _library("libstdc++.so.6")),
    ]
    compiler = [
        Need("c++", "to compile llama.cpp", "g++", _program("c++")),
        Need("cc", "to compile llama.cpp", "gcc", _program("cc")),
    ]
    environment = [Need("ensurepip", "to make a virtual environment", _venv_package(), _module("ensurepip"))]
    return always + (compiler if build else []) + (environment if venv else [])


def servers() -> list[Need]:
    """The git servers of other sites, for tests alone: the box itself needs none of them."""
    return [
        Need("sshd", "tests of git over ssh", "openssh-server", _program("sshd")),
        Need("gitolite", "tests of git over ssh with rights", "gitolite3", _program("gitolite")),
        Need("git-lfs", "tests of large files", "git-lfs", _program("git-lfs")),
        Need("nginx", "tests of git over https", "nginx", _program("nginx")),
        Need("fcgiwrap", "tests of git over https", "fcgiwrap", _program("fcgiwrap")),
        Need(
            "spawn-fcgi", "to start fcgiwrap; it brings all of systemd otherwise", "spawn-fcgi", _program("spawn-fcgi")
        ),
    ]


def browser() -> list[Need]:
    """What the console is looked at with, for tests alone. Apart from the servers: where apt has none, they are had
    all the same."""
    return [Need("chromium", "tests of the console in a browser", "chromium", _program("chromium"))]


def missing(wanted: Iterable[Need]) -> list[Need]:
    """Those that no probe finds."""
    return [need for need in wanted if not need.present()]


def command(lacking: Iterable[Need]) -> list[str]:
    """The apt command that brings them."""
    packages = sorted({need.package for need in lacking})
    return ["apt-get", "install", "-y", "--no-install-recommends", *packages]


def bring(lacking: list[Need], checkout: Checkout, terminal: Terminal, name: str) -> None:
    """Install what is lacking as root, else say the one command that does. No service is started or enabled by it.

    Raises:
        InstallError: not root, no apt on this system, or apt failed.
    """
    list_of = "\n".join(f"  {need.name}: {need.why} (Debian package {need.package})" for need in lacking)
    if shutil.which("apt-get") is None:
        raise InstallError(
            f"this system lacks:\n{list_of}", "install these with the system's own package tool, then run this again"
        )
    words = command(lacking)
    if os.geteuid() != 0:
        raise InstallError(f"this system lacks:\n{list_of}", f"run: sudo {' '.join(words)}")
    with _nothing_starts() as folder:
        git = {"GIT_CONFIG_SYSTEM": f"{folder}/gitconfig"}  # git-lfs would make its filters every user's
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", **git}
        how = ["-o", "DPkg::Lock::Timeout=300", "-o", f"DPkg::Path={folder}:{PROGRAMS}"]
        try:
            run([*words, *how], terminal, name, checkout.log, env=env)
        except InstallError:  # a fresh machine has no package lists yet, or old ones
            run(["apt-get", "update", *how], terminal, f"{name}: lists", checkout.log, env=env)
            hint = "mend the system's package sources, then run this again"
            run([*words, *how], terminal, name, checkout.log, env=env, hint=hint)


def possible() -> bool:
    """Whether `bring` may install packages here."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@contextmanager
def _nothing_starts() -> Iterator[str]:
    """A folder of programs that does nothing where a package's scripts would start a service.

    A `policy-rc.d` would do the same, but stay behind after a kill, and it does not keep a service from the next boot.
    """
    with tempfile.TemporaryDirectory(prefix="appliance-") as folder:
        for name in STARTERS:
            program = Path(folder) / name
            program.write_text("#!/bin/sh\nexit 0\n", "utf-8")
            program.chmod(0o755)
        yield folder


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PROGRAMS}") is not None


def _library(name: str) -> Callable[[], bool]:
    def loads() -> bool:
        try:
            ctypes.CDLL(name)
        except OSError:
            return False
        return True

    return loads


def _module(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


def _venv_package() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
