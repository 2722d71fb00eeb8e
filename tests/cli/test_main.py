from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import doctor
from appliance.cli.context import Box
from appliance.cli.main import COMMANDS, hoist, main, root
from appliance.cli.up import publish
from appliance.config import Home, render
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.audit import write_anchor
from appliance.settings import Settings
from appliance.work import Outcome, Signal, State, TrackedRepository, WorkItem


@pytest.fixture
def ledger(home: Home) -> Ledger:
    """A home as `init` leaves it, less the models, with one repository and one item that waits."""
    home.settings_file.write_text(render(Settings()))
    (home.secrets / "audit.key").write_bytes(b"k" * 32)
    opened = open_ledger(home)
    opened.add_repository(TrackedRepository(name="shop", url="file:///nowhere", branch="main"))
    signal = opened.receive(Signal(id="", repo="shop", title="it breaks"))
    item = WorkItem(id="", repo="shop", title="it breaks", state=State.NEEDS_HUMAN, stage="plan", waiting_for="why?")
    opened.open_item(signal.id, Outcome(item=item, reason="opened"))
    return opened


def run(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main([*words, "--home", str(home.root)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_global_options_may_stand_anywhere() -> None:
    assert hoist(["item", "list", "--json", "--home", "x"]) == ["--json", "--home", "x", "item", "list"]
    assert hoist(["item", "--home=x", "--", "--json"]) == ["--home=x", "item", "--", "--json"]
    assert hoist(["up", "--home"]) == ["--home", "up"]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert "Usage:" in capsys.readouterr().out
    assert root.get_command(None, "nonsense") is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["nonsense"], 2, "No such command"),
        (["item", "show"], 2, "Missing argument"),
        (["item", "show", "W-9"], 4, "there is no item 'W-9'"),
        (["signal", "add", "--repo", "ship", "--title", "t"], 4, "there is no repository 'ship'"),
        (["signal", "add", "--repo", "shop", "--title", " "], 2, "the title is empty"),
        (["signal", "show", "S-9"], 4, "there is no signal 'S-9'"),
        (["repo", "show", "ship"], 4, "there is no repository 'ship'"),
        (["item", "answer", "W-1"], 2, "Missing option"),
        (["up", "--only", "gatway"], 2, "no process 'gatway'"),
    ],
)
def test_errors_have_a_status_and_a_hint(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    before = ledger.tip()
    found, out, err = run(home, capsys, *words)
    assert (found, out) == (status, "")
    assert f"error: {said}" in err or said in err
    assert "hint: " in err
    found, _, err = run(home, capsys, *words, "--json")
    shape = json.loads(err)["error"]
    assert found == status and shape["message"] and shape["hint"] and shape["code"] in ("usage", "not_found")
    assert ledger.tip() == before, "nothing was changed"


def test_a_home_that_was_not_set_up_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(Home(tmp_path / "none"), capsys, "status")
    assert status == 4 and "appliance init" in err


def test_a_signal_is_received_from_standard_input_or_a_file(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    body = tmp_path / "report.txt"
    body.write_text("slug() is wrong\n")
    words = ["signal", "add", "--repo", "shop", "--title", "t", "--body-file", str(body), "--kind", "bug", "--json"]
    status, out, _ = run(home, capsys, *words)
    assert status == 0 and json.loads(out) == {"signal": "S-2", "item": "W-2"}
    assert ledger.signal("S-2")[0].body == "slug() is wrong\n"


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff\xfe", "not UTF-8"), (b"x" * 1_000_001, "longer than"), (None, "cannot read")]
)
def test_a_report_that_cannot_be_taken_is_refused_whole(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, said: str
) -> None:
    body = tmp_path / "report.txt"
    if content is not None:
        body.write_bytes(content)
    status, _, err = run(home, capsys, "signal", "add", "--repo", "shop", "--title", "t", "--body-file", str(body))
    assert status == 2 and said in err
    assert len(ledger.signals()) == 1


def test_item_show_json_has_what_is_promised(ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(home, capsys, "item", "show", "W-1", "--json")
    assert status == 0
    promised = {
        "id", "state", "stage", "repo", "title", "kind", "severity", "signals", "plan", "attempts", "change",
        "verdicts", "autonomy", "waiting_for", "lessons_used", "cost", "created", "updated", "events",
    }  # fmt: skip
    assert promised <= set(json.loads(out))


def test_commands_are_noted_and_illegal_ones_refused(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, capsys, "item", "answer", "W-1", "--text", "f(0) is 1")[0] == 0
    assert run(home, capsys, "item", "reject", "W-1", "--why", "not ours")[0] == 0
    assert [command.verb for command in ledger.open_commands()] == ["answer", "reject"]


def running_line(home: Home) -> dict[str, Any]:
    """As an `appliance up` that is still there tells it."""
    publish(home, ())
    told = json.loads((home.run / "up.json").read_text())
    told["processes"] = [{"name": "line", "state": "ready", "reason": ""}]
    (home.run / "up.json").write_text(json.dumps(told))
    return dict(told)


def test_a_box_that_was_killed_is_not_said_to_run(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    told = running_line(home)
    (home.run / "engines.json").write_text(json.dumps([{"model": "a", "state": "ready", "reason": ""}]))
    status, out, _ = run(home, capsys, "status")
    assert status == 0 and "line      ready" in out and "engine a: ready" in out
    for other in ({"pid": 4_000_000}, {"started": told["started"] - 1}):  # gone; another process with its number
        (home.run / "up.json").write_text(json.dumps({**told, **other}))
        status, out, _ = run(home, capsys, "status")
        assert status == 1 and "the box is not running" in out and "ready" not in out
        (found,) = doctor.guarded(doctor.processes, Box(home, as_json=False, debug=False))
        assert (found.verdict, found.found) == ("warn", "the box is not running")


def test_what_the_line_would_refuse_is_refused_at_once(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(home, capsys, "item", "approve", "W-1")
    assert status == 1 and "where there is nothing to approve" in err and "`item answer`" in err
    assert ledger.open_commands() == []


def test_a_story_that_waits_ends_with_what_can_be_said(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run(home, capsys, "item", "show", "W-1")[1]
    assert "  appliance item answer W-1 --text '…'\n  appliance item retry W-1\n" in said
    assert "item approve" not in said


def test_watching_what_will_never_be_an_item_ends_and_a_signal_that_waits_is_waited_for(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    for nothing in ("W-99", "99", "junk"):
        status, _, err = run(home, capsys, "item", "watch", nothing)
        assert status == 4 and f"there is no item '{nothing}'" in err
    ledger.receive(Signal(id="", repo="shop", title="it breaks again"))
    status, _, err = run(home, capsys, "item", "watch", "W-2", "--timeout", "0.1")
    assert status == 4 and "W-2 is not opened yet: its signal waits for the line" in err


def test_work_for_a_line_that_does_not_run_is_taken_and_said_to_wait(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    rests = "the line does not run; `appliance up` starts it"
    status, out, err = run(home, capsys, "signal", "add", "--repo", "shop", "--title", "again")
    assert status == 0 and "received as S-2" in out and rests in err
    status, _, err = run(home, capsys, "item", "show", "W-2")
    assert status == 4 and "W-2 is not opened yet: its signal waits for the line" in err and rests in err
    assert rests in run(home, capsys, "item", "watch", "W-2", "--timeout", "0.1")[2]
    assert "signals: 1 wait for the line to open items" in run(home, capsys, "status")[1]
    assert rests not in run(home, capsys, "item", "watch", "W-1")[2], "it waits for a person, not for the line"
    (home.run / "line.json").write_text(json.dumps({"pid": os.getpid(), "at": time.time(), "doing": []}))
    assert rests not in run(home, capsys, "signal", "add", "--repo", "shop", "--title", "and again")[2]


def test_watch_streams_the_story_and_says_what_is_asked(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(home, capsys, "item", "watch", "W-1")
    assert status == 1, "only a shipped item is a success"
    assert "opened" in out and "W-1 waits for a person: why?" in out
    assert run(home, capsys, "item", "answer", "W-1", "--text", "so")[0] == 0
    assert run(home, capsys, "item", "watch", "W-1")[1].splitlines()[1].endswith("CommandGiven          answer")


def test_export_writes_everything(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(home, capsys, "item", "export", "W-1", str(tmp_path / "w.json"))[0] == 0
    assert json.loads((tmp_path / "w.json").read_text())["events"][0]["kind"] == "ItemOpened"


def test_the_doctor_looks_at_the_routing_rules(ledger: Ledger, home: Home) -> None:
    box = Box(home, as_json=False, debug=False)
    home.routes_file.parent.mkdir(exist_ok=True)
    home.routes_file.write_text('[[rule]]\nname = "all"\ncandidates = ["*"]\n')
    assert [check.verdict for check in doctor.guarded(doctor.routes, box)] == ["pass"]
    home.routes_file.write_text('[[rule]]\nname = "all"\ncandidates = ["coder-7b"]\n')
    (found,) = doctor.guarded(doctor.routes, box)
    assert (found.name, found.verdict) == ("routes", "fail")
    assert "unknown model 'coder-7b'" in found.found and "route check" in found.fix


def test_the_doctor_names_models_whose_engines_failed(ledger: Ledger, home: Home) -> None:
    rows = [{"model": "a", "state": "ready", "reason": ""}, {"model": "b", "state": "failed", "reason": "no memory"}]
    (home.run / "engines.json").write_text(json.dumps(rows))
    assert doctor.guarded(doctor.engines, Box(home, as_json=False, debug=False)) == [], "nothing runs"
    running_line(home)
    (found,) = doctor.guarded(doctor.engines, Box(home, as_json=False, debug=False))
    assert (found.name, found.verdict, found.found) == ("  b", "warn", "engine failed: no memory")
    assert "`appliance model show b`" in found.fix


def test_a_file_that_cannot_be_written_is_an_error_in_words(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, _, err = run(home, capsys, "item", "export", "W-1", str(tmp_path / "none" / "w.json"))
    assert status == 1 and err.startswith(f"error: {tmp_path}/none/w.json: No such file or directory\nhint: ")
    with pytest.raises(FileNotFoundError):
        main(["--debug", "--home", str(home.root), "item", "export", "W-1", str(tmp_path / "none" / "w.json")])


@pytest.mark.parametrize("words", [(), ("repo",)])
def test_a_call_without_a_verb_is_answered_with_the_list_of_them(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(words)) == 2
    assert capsys.readouterr().err.startswith("Usage: ")


def test_settings_are_shown_checked_and_explained(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, capsys, "config", "check")[0] == 0
    assert json.loads(run(home, capsys, "config", "show", "--json")[1])["line"]["workers"] == 2
    assert "line.workers" in run(home, capsys, "config", "schema")[1]
    home.settings_file.write_text("[line]\nworkrs = 3\n[gatway]\nport = 1\n[console]\nport = 99999\n")
    status, _, err = run(home, capsys, "config", "check")
    assert status == 2
    assert "the nearest known name is 'workers'" in err and "'gateway'" in err and "console.port" in err


def test_audit_verify_fails_with_5_on_a_broken_chain(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    write_anchor(home.secrets / "ledger.anchor", *ledger.tip(), b"k" * 32)
    assert run(home, capsys, "audit", "verify")[0] == 0
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM events WHERE seq = 3")
    status, _, err = run(home, capsys, "audit", "verify")
    assert status == 5 and "1 newest events are missing" in err


def test_status_says_that_nothing_runs_and_what_waits(
    ledger: Ledger, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(home, capsys, "status")
    assert status == 1
    assert "not running" in out and "W-1 waits for a person: why?" in out
