"""A fresh box's name, its ports, and how its first administrator gets in."""

from __future__ import annotations

import argparse
import io
import json
import os
import pty
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from installer.errors import InstallError
from installer.target import first, naming, running
from installer.target.journal import Change
from installer.target.naming import BEGINNING, Naming, own_name, rows
from installer.target.places import Places
from installer.target.work import Work
from installer.terminal import Terminal

NOW = BEGINNING + 1e7
PASSWORD = "abcd-efgh-ijkl-mnop"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "prefix", tmp_path / "home")


def asked(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    naming.options(parser)
    return parser.parse_args(words)


def verdicts(found: Naming, now: float = NOW) -> dict[str, str]:
    return {row.name: row.verdict for row in rows(found, now)}


@pytest.mark.parametrize(
    ("node", "hosts", "name"),
    [("box.example", "", "box.example"), ("box", "", "box"), ("box", "::1 ip6-localhost\n", "box"),
     ("box", "# 10.0.0.1 no.example box\n127.0.1.1\tbox.example  box\n", "box.example"),
     ("box", "10.0.0.1 other.example other\n10.0.0.2 box b.example\n", "b.example")],
)  # fmt: skip
def test_the_machine_says_what_it_is_called_without_a_name_server(node: str, hosts: str, name: str) -> None:
    assert own_name(node, hosts) == name


def test_names_and_addresses_are_taken_in_order_and_what_is_none_is_refused(places: Places) -> None:
    found = naming.naming(asked("--name", "Box.Example", "--name", "10.1.2.3", "--name", "box.example."), places)
    assert found == Naming(("box.example", "10.1.2.3"), "0.0.0.0")
    for words in (["--name", "a_b"], ["--name", "1.2.3.400"], ["--name", ""], ["--listen", "everywhere"]):
        with pytest.raises(InstallError):
            naming.naming(asked(*words), places)


def test_a_home_with_settings_says_all_that_itself(places: Places) -> None:
    places.home.mkdir()
    (places.home / "appliance.toml").touch()
    assert naming.naming(asked("--name", "a_b"), places) is None and rows(None, NOW) == []
    assert first.step(Work(places, Change("1", "", NOW), quiet()[0])).done()


def test_a_name_without_a_domain_a_taken_port_and_an_old_clock_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(naming, "DOORS", {"console": taken.getsockname()[1], "gateway": 0})
        found = verdicts(Naming(("box",), "127.0.0.1"), BEGINNING - 1)
    assert found == {"name": "warn", "certificate": "fail", "console's port": "fail", "gateway's port": "pass"}
    assert all(row.fix for row in rows(Naming(("box",), "127.0.0.1"), BEGINNING - 1) if row.verdict != "pass")
    assert verdicts(Naming(("box.example",), "127.0.0.1"))["name"] == "pass"


def quiet() -> tuple[Terminal, io.StringIO]:
    out = io.StringIO()
    return Terminal(out), out


class Release:
    """A release's commands, as far as the first minute calls them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.called: list[list[str]] = []
        monkeypatch.setattr(running, "command", self.command)

    def command(self, _places: Places, _release: Path, words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.called.append(words)
        said: dict[str, Any] = {"root_fingerprint": "AA:BB"}
        if words[:2] == ["user", "first"]:
            said = {"address": "https://box.example:8443", "name": "admin", "password": PASSWORD, "hours": 24}
        return subprocess.CompletedProcess(words, 0, json.dumps(said), "")


def test_without_a_terminal_no_password_is_made_and_the_command_is_named(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, (terminal, out) = Release(monkeypatch), quiet()
    monkeypatch.setattr(first, "SCREEN", places.prefix / "none")
    first.farewell(places, Change("1", "", NOW), places.release("1"), terminal)
    assert ["user", "first"] not in release.called and "user first" in out.getvalue() and "AA:BB" in out.getvalue()


def test_the_password_is_shown_on_the_terminal_and_not_in_what_is_printed(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    Release(monkeypatch)
    shown, screen = pty.openpty()
    monkeypatch.setattr(first, "SCREEN", Path(os.ttyname(screen)))
    terminal, out = quiet()
    first.farewell(places, Change("1", "", NOW), places.release("1"), terminal)
    assert PASSWORD in os.read(shown, 4096).decode() and PASSWORD not in out.getvalue()
    os.close(shown)
    os.close(screen)


@pytest.mark.parametrize("change", [Change("2", "1", NOW, kept=True), Change("1", "", NOW, mend=True)])
def test_an_upgrade_or_a_mending_says_and_makes_nothing_of_it(
    places: Places, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    release, (terminal, out) = Release(monkeypatch), quiet()
    first.farewell(places, change, places.release("1"), terminal)
    assert release.called == [] and out.getvalue() == ""
