"""Brings a fresh checkout to the point where the box runs: `python3 -m installer setup [--dev]`.

The steps run in order. Each tells what it lacks and is skipped when it lacks nothing, so that a second run, or one
after an interruption, does only what is left. What was installed is known by digests in the virtual environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from installer import assets, llama_wheel, pip, system
from installer.__main__ import NEWEST, OLDEST
from installer.checkout import Checkout
from installer.errors import InstallError, Refused
from installer.terminal import Terminal, elapsed, run

NOT_TO_BE_HAD = "not to be had"


@dataclass(frozen=True)
class Step:
    """`lacks` says in a few words what is missing, or nothing; `apply` mends it."""

    name: str
    lacks: Callable[[], str]
    apply: Callable[[str], None]


class Stamps:
    """What is installed in a virtual environment: a name and the digest of what it was installed from."""

    def __init__(self, venv: Path) -> None:
        self.file = venv / "appliance-setup.json"

    def read(self) -> dict[str, str]:
        """All stamps; none when there is no readable file."""
        try:
            found = json.loads(self.file.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, **stamps: str) -> None:
        """Add or replace stamps, durably and at once."""
        half = self.file.with_suffix(".part")
        half.write_text(json.dumps(self.read() | stamps, indent=1, sort_keys=True) + "\n", "utf-8")
        half.replace(self.file)


def setup(checkout: Checkout, terminal: Terminal, dev: bool) -> None:
    """Run every step that lacks something. Two runs at once: the second waits for the first.

    Raises:
        InstallError: a step failed; what was done before it stays done.
    """
    started = time.monotonic()
    with _alone(checkout.root, terminal):
        steps = plan(checkout, terminal, dev)
        if not any(step.lacks() for step in steps):
            return
        terminal.say("setting up" + (" (with everything tests need)" if dev else ""))
        for step in steps:
            perform(step, terminal)
    terminal.say(f"set up in {elapsed(time.monotonic() - started)}")


def perform(step: Step, terminal: Terminal) -> None:
    """Apply a step if it lacks something, and see that it lacks nothing afterwards."""
    if not step.lacks():
        terminal.done(step.name, "there already")
        return
    started = time.monotonic()
    step.apply(step.name)
    still = step.lacks()
    if still:
        raise InstallError(
            f"{step.name}: after the step it still lacks {still}", "report this together with the log of the set-up"
        )
    terminal.done(step.name, elapsed(time.monotonic() - started))


FOR_TESTS: tuple[tuple[str, Callable[[], list[system.Need]]], ...] = (
    ("servers", lambda: system.servers()), ("browser", lambda: system.browser()),
)  # fmt: skip
"""What stands for the outside in tests alone: its stamp, and what it needs."""


def plan(checkout: Checkout, terminal: Terminal, dev: bool) -> list[Step]:
    """The steps for this checkout."""
    return [
        _system_step(checkout, terminal),
        _venv_step(checkout, terminal),
        _packages_step(checkout, terminal, dev),
        _llama_step(checkout, terminal),
        _own_step(checkout, terminal),
        _assets_step(checkout, terminal),
        *([_tests_step(checkout, terminal, kind, wanted) for kind, wanted in FOR_TESTS] if dev else []),
    ]


def _system_step(checkout: Checkout, terminal: Terminal) -> Step:
    def lacking() -> list[system.Need]:
        build = "llama" not in Stamps(checkout.venv).read() and llama_wheel.ready(checkout) is None
        return system.missing(system.needs(build=build, venv=site_packages(checkout) is None))

    return Step(
        "system packages",
        lambda: ", ".join(need.package for need in lacking()),
        lambda name: system.bring(lacking(), checkout, terminal, name),
    )


def _venv_step(checkout: Checkout, terminal: Terminal) -> Step:
    def apply(name: str) -> None:
        run([sys.executable, "-m", "venv", "--clear", checkout.venv], terminal, name, checkout.log)

    return Step("virtual environment", lambda: "" if site_packages(checkout) else "a virtual environment", apply)


def _packages_step(checkout: Checkout, terminal: Terminal, dev: bool) -> Step:
    """The development set holds the runtime set, pin for pin: `make run` and `make test` may come in either order."""
    stamps = Stamps(checkout.venv)
    lock = "dev" if dev else "runtime"

    def wanted() -> dict[str, str]:
        held = ["runtime", "dev"] if dev else ["runtime"]
        return {name: digest(checkout.lock(name)) for name in [*held, "models"]}

    def lacks() -> str:
        found = stamps.read()
        return ", ".join(f"{name}.lock" for name, value in wanted().items() if found.get(name) != value)

    def apply(name: str) -> None:
        pip.install(checkout, [lock, "models"], terminal, name)
        stamps.write(**wanted())

    return Step(f"packages ({lock} set)", lacks, apply)


def _llama_step(checkout: Checkout, terminal: Terminal) -> Step:
    stamps = Stamps(checkout.venv)

    def lacks() -> str:
        return "" if stamps.read().get("llama") == digest(checkout.lock("llama")) else "the llama.cpp wheel"

    def apply(name: str) -> None:
        wheel = llama_wheel.obtain(checkout, terminal, name)
        pip.install_file(checkout, wheel, terminal, name)
        answers(llama_server(checkout))
        stamps.write(llama=digest(checkout.lock("llama")))

    return Step("llama.cpp", lacks, apply)


def _own_step(checkout: Checkout, terminal: Terminal) -> Step:
    stamps = Stamps(checkout.venv)

    def own() -> str:
        return digest(checkout.root / "pyproject.toml") + ":" + str(checkout.root)

    def apply(name: str) -> None:
        pip.install_checkout(checkout, terminal, name)
        stamps.write(appliance=own())

    return Step("the appliance itself", lambda: "" if stamps.read().get("appliance") == own() else "its command", apply)


def _assets_step(checkout: Checkout, terminal: Terminal) -> Step:
    """What cannot be had is told once, and tried again when the lock is renewed or the archives are carried here."""
    stamps = Stamps(checkout.venv)

    def given_up() -> str:
        return f"{NOT_TO_BE_HAD}:{digest(checkout.lock('assets'))}"

    def lacks() -> str:
        missing = assets.lacking(checkout)
        if missing and stamps.read().get("assets") == given_up() and not assets.at_hand(checkout):
            return ""
        return ", ".join(asset.archive for asset in missing)

    def apply(name: str) -> None:
        try:
            assets.bring(checkout, terminal, name)
        except Refused:
            raise
        except InstallError as error:
            stamps.write(assets=given_up())
            terminal.say(f"  {name}: {error.message}\n  {error.hint}")

    return Step("assets of the console", lacks, apply)


def _tests_step(checkout: Checkout, terminal: Terminal, kind: str, wanted: Callable[[], list[system.Need]]) -> Step:
    """Without root, and where apt has not got them, tests that need these are skipped by name."""
    stamps = Stamps(checkout.venv)

    def lacks() -> str:
        if not system.possible() or stamps.read().get(kind) == NOT_TO_BE_HAD:
            return ""
        return ", ".join(need.package for need in system.missing(wanted()))

    def apply(name: str) -> None:
        try:
            system.bring(system.missing(wanted()), checkout, terminal, name)
        except InstallError as error:
            stamps.write(**{kind: NOT_TO_BE_HAD})  # without a network each try takes long
            terminal.say(f"  {name}: {error.message}\n  tests that need them are skipped; all of it: {checkout.log}")

    return Step(f"{kind} for tests", lacks, apply)


def site_packages(checkout: Checkout) -> Path | None:
    """Where the virtual environment keeps its packages, or None unless a suitable Python and pip are in it."""
    if not checkout.python.exists():  # follows the link: false when the Python it was made from is gone
        return None
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        folder = checkout.venv / "lib" / f"python3.{minor}" / "site-packages"
        if (folder / "pip").is_dir():
            return folder
    return None


def llama_server(checkout: Checkout) -> Path:
    """The inference server's program inside the virtual environment."""
    folder = site_packages(checkout)
    if folder is None:
        raise InstallError("the virtual environment is gone", "run this again")
    return folder / "bin" / "llama-server"


def answers(program: Path) -> None:
    """See that llama-server starts with nothing but what lies beside it.

    Raises:
        InstallError: it does not start.
    """
    kept = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, errors="replace", env=kept, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(
            f"llama-server does not start: {error}", "delete the wheel from offline-wheels/ and the build cache"
        ) from error
    if said.returncode != 0:
        raise InstallError(
            f"llama-server ended with status {said.returncode}: {said.stderr.strip()}", "see which library it names"
        )


def digest(file: Path) -> str:
    """The SHA-256 of a file, shortened."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


@contextmanager
def _alone(root: Path, terminal: Terminal) -> Iterator[None]:
    """Hold the checkout: the lock is on the folder itself, so nothing is left behind."""
    handle = os.open(root, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            terminal.say("another set-up of this checkout is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
