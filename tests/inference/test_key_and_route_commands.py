"""`appliance key` and `appliance route`, called as people call them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.main import main
from appliance.config import Home
from inference.keys import KeyStore
from tests.inference.gateway_process import CODER, EMBEDDER, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path)


def run(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    """Exit status, what --json printed, and standard error."""
    status = main([*words, "--json", "--home", str(home.root)])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


def test_a_created_key_opens_and_its_token_is_shown_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    status, made, _ = run(home, capsys, "key", "create", "ci", "--expires", "2")
    assert status == 0
    key = KeyStore(home.secrets / "keys.json").list()[0]
    assert (made["name"], made["state"]) == ("ci", "alive") and made["expires"]
    _, rows, _ = run(home, capsys, "key", "list")
    assert [row["name"] for row in rows] == ["ci"]
    assert made["token"] not in json.dumps(rows) and key.sha256 not in json.dumps(rows)
    assert (home.secrets / "keys.json").stat().st_mode & 0o777 == 0o600


def test_a_person_gets_the_token_alone_on_standard_output(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(home.root), "key", "create", "me"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("apl_") and len(out.split()) == 1 and "keep the token" in err


def test_a_revoked_key_is_shown_as_such_and_cannot_be_revoked_twice(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    run(home, capsys, "key", "create", "ci")
    assert run(home, capsys, "key", "revoke", "ci")[1]["state"] == "revoked"
    status, _, err = run(home, capsys, "key", "revoke", "ci")
    assert status == 4 and "no living key" in json.loads(err)["error"]["message"]


def test_a_doubled_name_and_a_past_expiry_are_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    run(home, capsys, "key", "create", "ci")
    assert run(home, capsys, "key", "create", "ci")[0] == 1
    assert run(home, capsys, "key", "create", "other", "--expires", "-1")[0] == 2


def test_keys_of_a_home_that_is_none_are_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(Home(tmp_path / "none"), capsys, "key", "create", "ci")[0] == 4
    assert not (tmp_path / "none").exists()


def test_route_list_shows_the_rules_in_order(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    status, rows, _ = run(home, capsys, "route", "list")
    assert status == 0 and [row["name"] for row in rows] == ["vectors", "python repair", "talk"]
    assert main(["--home", str(home.root), "route", "list"]) == 0
    assert "task repair" in capsys.readouterr().out


def test_route_check_names_every_problem_and_exits_2(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, capsys, "route", "check")[0] == 0
    bad = home.root / "bad.toml"
    bad.write_text('[[rule]]\nname = "a"\ncandidates = ["coder-8b"]\n[[rule]]\nname = "a"\ncandidates = ["coder-7b"]\n')
    status, _, err = run(home, capsys, "route", "check", str(bad))
    message = json.loads(err)["error"]["message"]
    assert status == 2 and "'coder-8b'" in message and "two rules are named 'a'" in message
    assert run(home, capsys, "route", "check", str(home.root / "none.toml"))[0] == 4


def test_route_explain_says_who_and_why(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("route", "explain", "--task", "repair", "--language", "python", "--prompt-tokens", "5000")
    status, made, _ = run(home, capsys, *asked)
    assert status == 0 and made["candidates"][0] == "search" and made["rule"] == "python repair"
    assert [(rule["rule"], rule["matched"]) for rule in made["considered"]] == [
        ("vectors", False), ("python repair", True),
    ]  # fmt: skip
    assert main([*asked, "--home", str(home.root)]) == 0
    said = capsys.readouterr().out
    assert f"{CODER} left out: its context of 4096 tokens is too small for 5000" in said


def test_route_explain_exits_4_when_nobody_may(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    status, made, _ = run(home, capsys, "route", "explain", "--task", "review")
    assert status == 4 and made["candidates"] == [] and "no rule is about" in made["refusal"]
    assert run(home, capsys, "route", "explain", "--task", "chat", "--model", EMBEDDER)[0] == 4
