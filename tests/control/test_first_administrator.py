"""The first administrator: a password shown on the terminal alone, good for a day and for one sign-in."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from appliance.cli.init import make_home
from appliance.config import Home
from appliance.errors import Conflict, UsageError
from appliance.user import Role
from appliance.work import utcnow
from control import accounts
from tests.control.test_accounts import csrf, person
from tests.control.world import Console

CHOSEN = "seven green kettles hum"


def test_whoever_has_it_chooses_another_at_the_first_sign_in_and_it_is_worth_nothing_afterwards(
    console: Console,
) -> None:
    user, password = accounts.first(console.ledger, "", "cli:test")
    assert (user.name, user.role, user.must_change) == (accounts.FIRST, Role.ADMINISTRATOR, True)
    browser = console.app.test_client()
    began = browser.post("/sign-in", data={"name": user.name, "password": password})
    assert began.status_code == 303 and began.headers["Location"] == "/sign-in/password"
    assert browser.get("/items").headers["Location"] == "/sign-in/password", "nothing else before that"
    form = {"csrf": csrf(browser, "/sign-in/password"), "password": CHOSEN}
    assert browser.post("/sign-in/password", data={**form, "password": password}).status_code == 400
    assert browser.post("/sign-in/password", data=form).status_code == 303
    assert browser.get("/items").status_code == 200
    assert console.app.test_client().post("/sign-in", data={"name": "admin", "password": password}).status_code == 401


def test_until_somebody_has_signed_in_another_can_be_had_and_the_one_before_is_worth_nothing(console: Console) -> None:
    ada, old = accounts.first(console.ledger, "ada", "cli:test")
    again, new = accounts.first(console.ledger, "", "cli:test")
    assert again.name == ada.name == "ada" and new != old
    sign_in = console.app.test_client().post
    assert sign_in("/sign-in", data={"name": "ada", "password": old}).status_code == 401
    assert sign_in("/sign-in", data={"name": "ada", "password": new}).status_code == 303


@pytest.mark.parametrize("name", ["console", "factory", "Box"])
def test_it_is_called_by_no_name_that_the_box_uses_itself(console: Console, name: str) -> None:
    with pytest.raises(UsageError):
        accounts.first(console.ledger, name, "cli:test")
    assert console.ledger.users.all() == []


def test_once_there_is_an_administrator_nobody_becomes_one_that_way(console: Console) -> None:
    person(console, "ada", Role.ADMINISTRATOR)
    with pytest.raises(Conflict, match="ada is administrator already"):
        accounts.first(console.ledger, "eve", "cli:test")
    assert [one.name for one in console.ledger.users.all()] == ["ada"]


@pytest.mark.parametrize(("hours", "status"), [(23, 303), (25, 401), (-24 * 3650, 303)])
def test_it_counts_for_a_day_and_a_clock_that_is_set_back_shuts_nobody_out(
    console: Console, monkeypatch: pytest.MonkeyPatch, hours: float, status: int
) -> None:
    user, password = accounts.first(console.ledger, "", "cli:test")
    later: Callable[[], datetime] = lambda: utcnow() + timedelta(hours=hours)  # noqa: E731
    monkeypatch.setattr(console.ledger.clock, "now", later, raising=False)
    answer = console.app.test_client().post("/sign-in", data={"name": user.name, "password": password})
    assert answer.status_code == status
    assert ("counted for 24 hours" in answer.text) == (status == 401)


def at_a_terminal(home: Home, *words: str) -> tuple[int, str, str]:
    """Run a command at a terminal of its own, its output led into a pipe: status, what was shown, what was piped."""
    read, write = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        os.dup2(write, 1)
        os.execv(sys.executable, [sys.executable, "-m", "appliance", "--home", str(home.root), *words])
    os.close(write)
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # the terminal's other end is closed
        pass
    with os.fdopen(read, "rb") as pipe:
        piped = pipe.read().decode()
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode(), piped


@pytest.mark.integration
def test_it_is_shown_on_the_terminal_alone_and_in_no_file_of_the_box(home: Home) -> None:
    make_home(home)
    status, shown, piped = at_a_terminal(home, "user", "first", "--name", "ada")
    found = re.search(r"password +(\S+)", shown)
    assert status == 0 and found and piped == "", shown
    canary = found[1].encode()
    for file in home.root.rglob("*"):
        assert not file.is_file() or canary not in file.read_bytes(), file
    command = [sys.executable, "-m", "appliance", "--home", str(home.root), "user", "first"]
    alone = subprocess.run(command, capture_output=True, text=True, start_new_session=True)
    assert alone.returncode == 2 and "no terminal" in alone.stderr and "password  " not in alone.stdout + alone.stderr
    told = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    assert told["name"] == "ada" and told["hours"] == 24 and told["password"] != found[1]
