"""Environments of their own, by the content of their lock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from installer import environment
from tests.installer.world import checkout, lock_of, quiet


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is started: the making of the environment, and pip's installing; neither is done."""
    started: list[str] = []

    def run(command: list[Any], *args: Any, **named: Any) -> None:
        started.append("venv")
        Path(command[-1]).mkdir(parents=True)

    def install(found: Any, locks: list[str], *args: Any, python: Path, **named: Any) -> None:
        started.append(f"{locks[0]} into {python.parent.parent.name}")

    monkeypatch.setattr(environment, "run", run)
    monkeypatch.setattr(environment.pip, "install", install)
    return started


def test_an_environment_is_made_once_and_found_again(tmp_path: Path, made: list[str]) -> None:
    here = checkout(tmp_path)
    assert environment.ready(here, "dev") is None
    folder = environment.make(here, "dev", quiet())
    assert folder == environment.make(here, "dev", quiet()) == environment.ready(here, "dev")
    assert made == ["venv", f"dev into {folder.name}"] and here.cache in folder.parents


def test_a_renewed_lock_makes_another_environment(tmp_path: Path, made: list[str]) -> None:
    here = checkout(tmp_path)
    first = environment.make(here, "dev", quiet())
    here.lock("dev").write_text(lock_of("thing", "2.0", "2" * 64), "utf-8")
    assert environment.ready(here, "dev") is None
    assert environment.make(here, "dev", quiet()) != first


def test_an_environment_whose_making_was_interrupted_is_made_anew(tmp_path: Path, made: list[str]) -> None:
    here = checkout(tmp_path)
    half = environment.folder(here, "dev")
    half.mkdir(parents=True)
    (half / "half").touch()
    assert environment.ready(here, "dev") is None
    environment.make(here, "dev", quiet())
    assert not (half / "half").exists() and environment.ready(here, "dev") == half
