"""The door of the installer: any Python gets an answer, and a person sees what failed and what to do."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from installer import __main__ as door
from installer import commands
from installer.commands import dispatch
from installer.errors import InstallError, Refused

ROOT = Path(__file__).parents[2]


def test_any_python_3_can_read_the_door() -> None:
    ast.parse((ROOT / "installer" / "__main__.py").read_text("utf-8"), feature_version=(3, 4))


@pytest.mark.parametrize(
    ("version", "suits"),
    [((2, 7), False), ((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), True), ((3, 14), False)],
)
def test_pythons_from_3_11_to_3_13_suit(version: tuple[int, int], suits: bool) -> None:
    assert door.suits(version) is suits


def python_of(folder: Path, minor: int, script: str) -> None:
    program = folder / f"python3.{minor}"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)


def test_the_newest_python_that_really_works_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    python_of(tmp_path, 13, "exit 127")
    python_of(tmp_path, 12, "echo 12")
    python_of(tmp_path, 11, "echo 11")
    assert door.another_python() == "python3.12"


def test_an_old_python_alone_is_told_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert door.main() == 1
    said = capsys.readouterr().err
    assert said.startswith("error: this is Python 3.9; ") and "\nhint: " in said


@pytest.mark.parametrize(("error", "status"), [(InstallError("it broke", "mend it"), 1), (Refused("a lie"), 3)])
def test_an_error_is_said_with_its_hint_and_status(
    error: InstallError, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(commands, "setup", fails)
    assert dispatch(["setup"]) == status
    said = capsys.readouterr().err
    assert f"error: {error.message}\n" in said and ("hint: mend it\n" in said) == bool(error.hint)


def test_an_interruption_says_that_the_same_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "setup", interrupted)
    assert dispatch(["setup", "--dev"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_a_wrong_verb_is_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        dispatch(["dance"])
    assert ended.value.code == 2
