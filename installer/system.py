"""What the operating system must offer, found by probing, and the one apt command that brings what is missing."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from installer.checkout import Checkout
from installer.errors import InstallError
from installer.terminal import Terminal, run


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


def missing(wanted: Iterable[Need]) -> list[Need]:
    """Those that no probe finds."""
    return [need for need in wanted if not need.present()]


def command(lacking: Iterable[Need]) -> list[str]:
    """The apt command that brings them."""
    packages = sorted({need.package for need in lacking})
    return ["apt-get", "install", "-y", "--no-install-recommends", *packages]


def bring(lacking: list[Need], checkout: Checkout, terminal: Terminal, name: str) -> None:
    """Install what is lacking as root, else say the one command that does.

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
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    try:
        run([*words, *wait], terminal, name, checkout.log, env=env)
    except InstallError:  # a fresh machine has no package lists yet, or old ones
        run(["apt-get", "update", *wait], terminal, f"{name}: lists", checkout.log, env=env)
        run(
            [*words, *wait],
            terminal,
            name,
            checkout.log,
            env=env,
            hint="mend the system's package sources, then run this again",
        )


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


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
