"""`appliance key` and `appliance route`, called as people call them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.main import main
from appliance.config import Home
from inference.counts import ENDED, RESERVED
from inference.journal import Journal
from inference.keys import KeyStore
from tests.inference.gateway_process import BIG, CODER, EMBEDDER, make_home


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


def test_names_in_a_keys_terms_that_nothing_has_are_told(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(
        home, capsys, "key", "create", "ci", "--model", "nosuch-*", "--model", CODER, "--route", "nosuch",
        "--scope", "git", "--scope", "infer", "--repo", "nosuch",
    )  # fmt: skip
    assert status == 0
    assert err.splitlines() == [
        "note: no model is called 'nosuch-*' (yet)", "note: no routing rule is called 'nosuch' (yet)",
        "note: no repository is called 'nosuch' (yet)",
    ]  # fmt: skip
    assert "note" not in run(home, capsys, "key", "set", "ci", "--model", "none", "--route", "*", "--repo", "none")[2]
    assert run(home, capsys, "key", "set", "ci", "--task", "none")[0] == 0
    assert run(home, capsys, "key", "set", "ci", "--task", "cat")[0] == 2


def test_a_key_is_made_with_terms_and_changed_one_by_one(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    status, made, err = run(
        home, capsys, "key", "create", "--name", "ci", "--model", "coder-*", "--model", "all-*", "--task", "chat",
        "--rpm", "60", "--tpm", "40000", "--parallel", "4", "--tokens-per-day", "2000000",
        "--seconds-per-month", "3600.5", "--priority", "batch", "--team", "build", "--expires", "2999-01-31",
    )  # fmt: skip
    assert status == 0, err
    terms = made["terms"]
    assert terms["models"] == ["coder-*", "all-*"] and terms["tasks"] == ["chat"] and terms["routes"] == []
    assert (terms["team"], terms["priority"]) == ("build", "batch") and made["expires"].startswith("2999-01-31")
    assert {name: value for name, value in terms["limits"].items() if value is not None} == {
        "requests_per_minute": 60, "tokens_per_minute": 40000, "parallel": 4, "tokens_per_day": 2000000,
        "seconds_per_month": 3600.5,
    }  # fmt: skip
    changed = run(home, capsys, "key", "set", "ci", "--rpm", "none", "--model", "none", "--expires", "none")[1]
    assert changed["terms"]["limits"] == {**terms["limits"], "requests_per_minute": None}
    assert run(home, capsys, "key", "set", "ci", "--scope", "route")[1]["scopes"] == ["route"]
    assert changed["terms"]["models"] == [] and changed["terms"]["tasks"] == ["chat"] and changed["expires"] is None


def test_a_person_sees_what_a_key_has_used_with_units(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(home, capsys, "key", "create", "ci", "--tokens-per-day", "2000000")[1]
    journal, now = Journal(home.spool), time.time()
    with journal.turn():
        journal.append([RESERVED, now, "a", made["id"], "m", "w", 50, 0], [ENDED, now, "a", 1200, 34, 2500])
        journal.append([RESERVED, now, "b", made["id"], "m", "w", 50, 1500])
    shown = run(home, capsys, "key", "show", "ci")[1]
    assert shown["used"]["tokens_per_day"] == {"used": 1284, "limit": 2000000}
    assert shown["used"]["seconds_per_month"] == {"used": 4.0, "limit": None}
    assert shown["ever"] == {"calls": 1, "prompt_tokens": 1200, "completion_tokens": 34, "model_seconds": 2.5}
    assert "token" not in shown and "sha256" not in shown
    assert main(["--home", str(home.root), "key", "show", "ci"]) == 0
    said = capsys.readouterr().out
    assert "1,284 of    2,000,000 tokens/day" in said and "4.0 of   any number model-seconds/month" in said
    assert main(["--home", str(home.root), "key", "list"]) == 0
    assert "1,284" in capsys.readouterr().out


def test_a_key_whose_budget_is_used_up_is_shown_as_paused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(home, capsys, "key", "create", "ci", "--tokens-per-day", "100")[1]
    assert run(home, capsys, "key", "show", "ci")[1]["state"] == "alive"
    journal, now = Journal(home.spool), time.time()
    with journal.turn():
        journal.append([RESERVED, now, "a", made["id"], "m", "w", 50, 0], [ENDED, now, "a", 90, 10, 2500])
    shown = run(home, capsys, "key", "show", "ci")[1]
    assert shown["state"] == "paused"
    assert shown["paused"].startswith("100 of 100 tokens of this day are used; it opens again at 20")
    assert [row["state"] for row in run(home, capsys, "key", "list")[1]] == ["paused"]
    assert main(["--home", str(home.root), "key", "show", "ci"]) == 0
    assert "paused    100 of 100 tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rpm", "0"), "--rpm 0"),
        (("--tokens-per-day", "many"), "--tokens-per-day many"),
        (("--expires", "someday"), "no number of days and no date"),
        (("--expires", "2001-01-01"), "future"),
        (("--name", "other"), "one name"),
    ],
)
def test_terms_that_make_no_sense_are_refused(
    home: Home, capsys: pytest.CaptureFixture[str], words: tuple[str, str], said: str
) -> None:
    status, _, err = run(home, capsys, "key", "create", "ci", *words)
    assert status == 2 and said in json.loads(err)["error"]["message"]
    assert KeyStore(home.secrets / "keys.json").list() == ()


def test_a_key_that_is_not_there_is_neither_shown_nor_changed(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, capsys, "key", "show", "ci")[0] == 4
    assert run(home, capsys, "key", "set", "ci", "--rpm", "5")[0] == 4


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
        ("vectors", False), ("python repair", True), ("talk", False),
    ]  # fmt: skip
    assert main([*asked, "--home", str(home.root)]) == 0
    said = capsys.readouterr().out
    assert f"{CODER} left out: its context of 4096 tokens is too small for 5000" in said


def test_route_explain_exits_4_when_nobody_may(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    status, made, _ = run(home, capsys, "route", "explain", "--task", "review")
    assert status == 4 and made["candidates"] == [] and "no rule is about" in made["refusal"]
    assert run(home, capsys, "route", "explain", "--task", "chat", "--model", EMBEDDER)[0] == 4
    status, _, err = run(home, capsys, "route", "explain", "--task", "revew")
    assert status == 2 and "'review'" in err


def test_route_explain_takes_every_fact(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.routes_file.write_text(
        '[[rule]]\nname = "n"\ncandidates = ["coder-32b"]\nwhen = { team = "core", severity = { max = 2 }, '
        'attempt = { min = 2 }, load = { min = 1 }, time = { from = "22:00", to = "06:00" } }\n'
        '[[rule]]\nname = "rest"\ncandidates = ["coder-7b"]\n'
    )
    run(home, capsys, "key", "create", "ci", "--team", "core", "--model", "coder-32b")
    facts = ("--key", "ci", "--severity", "1", "--attempt", "2", "--load", "3", "--at", "2026-11-26 23:10")
    assert run(home, capsys, "route", "explain", *facts)[1]["rule"] == "n"
    status, _, err = run(home, capsys, "route", "explain", "--key", "ci", "--at", "2026-11-26T12:00")
    assert status == 3 and "limited to the models coder-32b" in json.loads(err)["error"]["message"]


def test_route_check_warns_of_what_is_odd_and_strict_makes_it_an_error(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = home.root / "odd.toml"
    odd.write_text(
        '[[rule]]\nname = "all"\ncandidates = ["*"]\n[[rule]]\nname = "late"\ncandidates = ["coder-7b"]\n'
        'when = { key = "lime" }\n'
    )
    run(home, capsys, "key", "create", "line")
    status, made, _ = run(home, capsys, "route", "check", str(odd))
    assert status == 0 and [(one["rule"], one["kind"]) for one in made["warnings"]] == [
        ("late", "unreachable"), ("late", "unknown"),
    ]  # fmt: skip
    assert "'line'" in made["warnings"][1]["text"]
    assert run(home, capsys, "route", "check", str(odd), "--strict")[0] == 5
    assert main(["--home", str(home.root), "route", "check", str(odd)]) == 0
    assert "warning: 'late': no call reaches it" in capsys.readouterr().out


def test_route_simulate_shows_what_a_changed_file_would_do_to_recorded_calls(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, calls = home.root / "new.toml", home.root / "calls.jsonl"
    changed.write_text(home.routes_file.read_text().replace('["coder-7b", "coder-32b"]', '["coder-32b", "coder-7b"]'))
    asked = {"task": "chat", "prompt_tokens": 10, "answering": True}
    records: list[dict[str, Any]] = [
        {"id": "a", "endpoint": "/v1/chat/completions", "model": CODER, "asked": asked},
        {"id": "b", "endpoint": "/v1/embeddings", "task": "embedding", "model": EMBEDDER, "key": "0a0b"},
        {"id": "c", "task": "chat"}, {"task": "chat", "tsak": 1},
    ]  # fmt: skip
    calls.write_text("\n".join([*map(json.dumps, records), "", "{", "[1]"]))
    status, made, _ = run(home, capsys, "route", "simulate", str(calls), "--rules", str(changed))
    assert status == 0 and (made["calls"], made["same"]) == (3, 1)
    (one,) = made["differences"]
    assert (one["calls"], one["examples"]) == (2, ["a", "c"])
    assert (one["before"]["candidates"], one["after"]["candidates"]) == ([CODER, BIG], [BIG, CODER])
    assert [line.partition(":")[0] for line in made["unreadable"]] == ["line 4", "line 6", "line 7"]
    assert main(["--home", str(home.root), "route", "simulate", str(calls), "--rules", str(changed)]) == 0
    said = capsys.readouterr().out
    assert "3 calls, 1 decided as before, 2 otherwise" in said and "another model first" in said
    assert run(home, capsys, "route", "simulate", "nowhere.jsonl", "--rules", str(changed))[0] == 4
    status, _, err = run(home, capsys, "route", "simulate", str(changed), "--rules", str(changed))
    assert status == 2 and "holds no call" in err and "usage-DATE.jsonl" in err


def test_route_simulate_tells_each_kind_of_difference(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    calls = home.root / "calls.jsonl"
    calls.write_text('{"task": "chat"}\n')
    rest = '[[rule]]\nname = "talk"\ncandidates = ["coder-7b", "coder-32b"]\n'
    for text, what in (
        ("", "refused from now on"), (rest + "queue_seconds = 3\n", "other actions"),
        (rest.replace(', "coder-32b"', ""), "other models after the first"),
        (rest.replace('"talk"', '"other"'), "another rule, the same models"),
    ):  # fmt: skip
        changed = home.root / "new.toml"
        changed.write_text(text)
        assert main(["--home", str(home.root), "route", "simulate", str(calls), "--rules", str(changed)]) == 0
        assert what in capsys.readouterr().out
