"""How pip is called: by hash, and offline it can reach no index."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from installer import pip
from installer.checkout import Checkout
from installer.errors import InstallError
from installer.llama_wheel import sha256
from installer.terminal import run
from tests.installer.world import checkout, lock_of, quiet, wheel

GIVEN = {"PATH": "/bin", "PIP_INDEX": "x", "PIP_USER": "1", "PYTHONPATH": "/elsewhere", "PIP_CERT": "/cert"}


def test_offline_pip_sees_no_configuration_of_the_machine() -> None:
    assert pip.environment(True, GIVEN) == {
        "PATH": "/bin", "PIP_CONFIG_FILE": "/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }  # fmt: skip


def test_online_pip_keeps_the_machines_configuration_but_installs_into_the_environment() -> None:
    assert pip.environment(False, GIVEN) == {
        "PATH": "/bin", "PIP_INDEX": "x", "PIP_CERT": "/cert", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }  # fmt: skip


def test_a_filled_wheelhouse_is_the_only_source(tmp_path: Path) -> None:
    made = checkout(tmp_path)
    assert pip.sources(made) == []
    wheel(made.wheelhouse / "thing-1.0-py3-none-any.whl", {})
    assert pip.sources(made) == ["--no-index", "--find-links", str(made.wheelhouse)]


def test_progress_counts_requirements_and_never_goes_back() -> None:
    share = pip.counting(2)
    lines = [
        "Collecting a==1",
        "  Downloading a",
        "Ignoring b: markers",
        "Collecting c",
        "Installing collected packages: a",
    ]
    told = [value for value in map(share, lines) if value is not None]
    assert told == sorted(told) and told[0] == 0.45 and told[-1] == 0.9


def offline_checkout(folder: Path) -> tuple[Checkout, Path]:
    """A checkout with a real virtual environment, one wheel, and the lock of it."""
    made = checkout(folder)
    run([sys.executable, "-m", "venv", made.venv], quiet(), "environment", made.log)
    carried = wheel(made.wheelhouse / "thing-1.0-py3-none-any.whl", {"thing.py": b"WORD = 'here'\n"})
    made.lock("runtime").write_text(lock_of("thing", "1.0", sha256(carried)), "utf-8")
    return made, carried


@pytest.mark.integration
def test_a_carried_wheel_is_installed_without_an_index_and_one_changed_byte_is_refused(tmp_path: Path) -> None:
    made, carried = offline_checkout(tmp_path)
    content = bytearray(carried.read_bytes())
    content[-1] ^= 1
    carried.write_bytes(content)
    with pytest.raises(InstallError, match="DO NOT MATCH THE HASHES") as refusal:
        pip.install(made, ["runtime"], quiet(), "packages")
    assert "no index was asked" in refusal.value.hint
    content[-1] ^= 1
    carried.write_bytes(content)
    pip.install(made, ["runtime"], quiet(), "packages")
    run([made.python, "-c", "import thing; assert thing.WORD == 'here'"], quiet(), "try", made.log)


@pytest.mark.integration
def test_a_wheel_that_was_not_carried_is_an_error_that_asks_no_index(tmp_path: Path) -> None:
    made, _ = offline_checkout(tmp_path)
    made.lock("runtime").write_text(lock_of("absent", "1.0", "4" * 64), "utf-8")
    with pytest.raises(InstallError, match="absent"):
        pip.install(made, ["runtime"], quiet(), "packages")
    assert "://" not in made.log.read_text("utf-8")
