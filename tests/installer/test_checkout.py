"""Names, locks, and where things lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.checkout import Checkout, Pin, pins
from tests.installer.world import LOCKS, checkout

ROOT = Path(__file__).parents[2]

LOCK = """\
# This file was made by a tool
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via
    #   -r offline-wheels/runtime.in
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:{c}
zope-event==6.2 \\
    --hash=sha256:{d}
""".format(**{letter: letter * 64 for letter in "abcd"})


def test_a_lock_gives_every_pin_with_all_its_hashes() -> None:
    assert pins(LOCK) == [
        Pin("numpy", "2.4.6", ("a" * 64, "b" * 64)),
        Pin("numpy", "2.5.5", ("c" * 64,)),
        Pin("zope-event", "6.2", ("d" * 64,)),
    ]


def test_comments_are_no_pins() -> None:
    assert pins("# a==1\n    # via b==2\n") == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_of_the_committed_locks_has_a_hash(name: str) -> None:
    found = pins((ROOT / "offline-wheels" / f"{name}.lock").read_text("utf-8"))
    assert found and all(pin.hashes for pin in found)


def test_the_development_set_holds_the_runtime_set_pin_for_pin() -> None:
    sets = [set(pins((ROOT / "offline-wheels" / f"{name}.lock").read_text("utf-8"))) for name in ("runtime", "dev")]
    assert sets[0] < sets[1]


def test_no_lock_but_its_own_names_the_package_that_is_built_here() -> None:
    for name in ("runtime", "dev", "build", "models"):
        found = pins((ROOT / "offline-wheels" / f"{name}.lock").read_text("utf-8"))
        assert "llama-cpp-python" not in {pin.name for pin in found}


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({"APPLIANCE_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"APPLIANCE_CACHE": "", "XDG_CACHE_HOME": "/b"}, Path("/b/appliance")),
        ({}, Path.home() / ".cache" / "appliance"),
    ],
)
def test_the_cache_lies_where_the_environment_says(environ: dict[str, str], cache: Path) -> None:
    assert Checkout.here(environ).cache == cache


def test_a_built_wheel_alone_does_not_make_a_wheelhouse(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    (made.wheelhouse / "llama_cpp_python-0.3.36-py3-none-linux_x86_64.whl").touch()
    assert not made.has_packages
    (made.wheelhouse / "thing-1.0-py3-none-any.whl").touch()
    assert made.has_packages
