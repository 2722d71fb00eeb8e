"""One bare root, one press and one journey for the whole run; each test is a step of it, in the file's order."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.checkout import Checkout
from tests.install import bare
from tests.install.journey import Journey
from tests.install.releases import Press


@pytest.fixture(scope="session")
def root() -> bare.Root:
    """The root every machine is laid over."""
    try:
        found = bare.root(Checkout.here().cache)
    except bare.NoRoot as error:
        pytest.skip(f"no bare machine here: {error}")
    print(f"\nroot: {found.said}")
    return found


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A folder on a real disk: an overlay cannot lie on every file system."""
    with tempfile.TemporaryDirectory(prefix="appliance-install-", dir=os.environ.get("TMPDIR")) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def press(scratch: Path) -> Press:
    return Press(Checkout.here(), scratch)


@pytest.fixture(scope="module")
def journey(root: bare.Root, press: Press, scratch: Path, request: pytest.FixtureRequest) -> Iterator[Journey]:
    """A machine that a module's tests lead through its life, and the table of what they measured."""
    name = request.module.__name__.rpartition(".")[2]
    made = Journey(press, bare.Machine(root, scratch / f"machine-{name}", press.media).boot())
    yield made
    made.machine.end()
    print("\n" + made.table())
