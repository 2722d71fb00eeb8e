"""What the operating system lacks, and the one command that brings it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from installer import system
from installer.errors import InstallError
from installer.system import Need, bring, command, missing, needs
from tests.installer.world import checkout, quiet

ABSENT = Need("bwrap", "the sandbox", "bubblewrap", lambda: False)
PRESENT = Need("git", "mirrors", "git", lambda: True)


def test_only_what_no_probe_finds_is_missing() -> None:
    assert missing([ABSENT, PRESENT]) == [ABSENT]


def test_a_compiler_is_needed_only_to_build() -> None:
    with_build = {need.name for need in needs(build=True, venv=False)}
    without = {need.name for need in needs(build=False, venv=False)}
    assert with_build - without == {"c++", "cc"}
    assert {need.name for need in needs(build=False, venv=True)} - without == {"ensurepip"}


def test_one_command_names_every_package_once() -> None:
    assert command([ABSENT, PRESENT, ABSENT]) == [
        "apt-get", "install", "-y", "--no-install-recommends", "bubblewrap", "git",
    ]  # fmt: skip


def test_probes_find_what_is_there_and_miss_what_is_not() -> None:
    assert system._program("sh")() and not system._program("no-such-program")()
    assert system._library("libc.so.6")() and not system._library("libno-such.so.1")()
    assert system._module("json")() and not system._module("no_such_module")()


def fake_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """An apt-get that notes what it is asked."""
    folder.mkdir()
    program, noted = folder / "apt-get", folder / "noted"
    program.write_text(f'#!/bin/sh\necho "$@" >> {noted}\n{script}\n', "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return noted


def test_without_root_the_one_command_is_said_and_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = fake_apt(tmp_path / "bin", monkeypatch, "")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InstallError, match=r"bwrap: the sandbox \(Debian package bubblewrap\)") as error:
        bring([ABSENT], checkout(tmp_path), quiet(), "system packages")
    assert error.value.hint == "run: sudo apt-get install -y --no-install-recommends bubblewrap"
    assert not noted.exists()


def test_without_apt_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InstallError, match="this system lacks") as error:
        bring([ABSENT], checkout(tmp_path), quiet(), "system packages")
    assert "own package tool" in error.value.hint


def test_old_package_lists_are_renewed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    noted = fake_apt(
        folder, monkeypatch, f'case "$1" in update) touch {folder}/new ;; install) [ -e {folder}/new ] ;; esac'
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    bring([ABSENT], checkout(tmp_path), quiet(), "system packages")
    assert [line.split()[0] for line in noted.read_text("utf-8").splitlines()] == ["install", "update", "install"]


def test_an_apt_that_keeps_failing_is_an_error_with_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path / "bin", monkeypatch, 'echo "E: no such package"; [ "$1" = update ]')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(InstallError, match="E: no such package"):
        bring([ABSENT], checkout(tmp_path), quiet(), "system packages")


def test_no_package_starts_a_service_now_or_at_the_next_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = "for one in invoke-rc.d deb-systemd-invoke deb-systemd-helper update-rc.d systemctl; do $one ssh start"
    path = 'for word in "$@"; do case "$word" in DPkg::Path=*) PATH=${word#DPkg::Path=} ;; esac; done'
    noted = fake_apt(tmp_path / "bin", monkeypatch, f"{path}\n{scripts}; command -v $one; done; command -v sh")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    made = checkout(tmp_path)
    bring([ABSENT], made, quiet(), "system packages")
    found = [Path(line) for line in made.log.read_text("utf-8").splitlines() if line.startswith("/")]
    assert [file.name for file in found][:-1] == [
        "invoke-rc.d", "deb-systemd-invoke", "deb-systemd-helper", "update-rc.d", "systemctl",
    ]  # fmt: skip
    assert len({file.parent for file in found[:-1]}) == 1 and not found[0].parent.exists()
    assert found[-1].parent in (Path("/bin"), Path("/usr/bin")) and noted.exists()


def test_no_package_changes_git_s_settings_of_all_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = fake_apt(
        tmp_path / "bin", monkeypatch, "git config --system filter.lfs.required true; git config --system -l"
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    made = checkout(tmp_path)
    bring([ABSENT], made, quiet(), "system packages")
    assert made.log.read_text("utf-8").splitlines()[-1] == "filter.lfs.required=true" and noted.exists()


def test_servers_of_other_sites_are_not_needed_to_run() -> None:
    always = {need.package for need in needs(build=True, venv=True)}
    assert not always & {need.package for need in system.servers()}
