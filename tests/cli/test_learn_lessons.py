from __future__ import annotations

import json

import pytest

from appliance.cli.main import main
from appliance.config import Home, render
from appliance.ledger import Ledger, open_ledger
from appliance.lesson import Evidence, Lesson, LessonState, Scope, Source
from appliance.settings import Settings
from appliance.work import TrackedRepository


@pytest.fixture
def ledger(home: Home) -> Ledger:
    """Two repositories, and one lesson that a person's rejection taught."""
    home.settings_file.write_text(render(Settings()))
    (home.secrets / "audit.key").write_bytes(b"k" * 32)
    opened = open_ledger(home)
    for name in ("shop", "tools"):
        opened.add_repository(TrackedRepository(name=name, url="file:///nowhere", branch="main"))
    opened.lessons.propose(
        Lesson(
            text="rates are cents", scope=Scope(repo="shop", path="rates.py"), source=Source.REJECTION, home="shop",
            evidence=(Evidence(repo="shop", item="W-1", path="rates.py"),),
        )
    )  # fmt: skip
    return opened


def run(home: Home, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["learn", "lessons", *words, "--home", str(home.root)])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_lessons_are_listed_by_state_and_repository(
    home: Home, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, capsys, "add", "name the unit", "--repo", "tools")[0] == 0
    listed = {
        words: [one["id"] for one in json.loads(run(home, capsys, "list", *words, "--json")[1])]
        for words in ((), ("--state", "proposed"), ("--repo", "tools"))
    }
    assert listed == {(): ["L-2", "L-1"], ("--state", "proposed"): ["L-1"], ("--repo", "tools"): ["L-2"]}
    assert "rates are cents" in run(home, capsys, "list")[1]


def test_a_lesson_is_shown_with_what_taught_it_and_what_may_be_said_of_its_effect(
    home: Home, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said, _ = run(home, capsys, "show", "L-1")
    assert "L-1 proposed: rates are cents" in said and "W-1 shop rates.py" in said and "too little to say" in said
    data = json.loads(run(home, capsys, "show", "L-1", "--json")[1])
    assert data["uses"] == [] and data["effect"]["ended_with"] == 0 and data["evidence"][0]["item"] == "W-1"


def test_a_person_confirms_edits_and_retires_a_lesson_in_their_name(
    home: Home, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, capsys, "confirm", "L-1")[0] == 0
    assert ledger.lessons.get("L-1").state is LessonState.CONFIRMED
    assert run(home, capsys, "edit", "L-1", "--text", "rates are whole cents", "--path", "")[0] == 0
    edited = ledger.lessons.get("L-1")
    assert (edited.text, edited.scope) == ("rates are whole cents", Scope(repo="shop"))
    assert run(home, capsys, "retire", "L-1", "--why", "the module is gone")[0] == 0
    retired = ledger.lessons.get("L-1")
    assert (retired.state, retired.why) == (LessonState.RETIRED, "the module is gone")
    assert retired.by.startswith("person:")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("show", "L-9"), 4, "L-9"),
        (("edit", "L-1"), 2, "nothing to change"),
        (("add", " "), 2, "a lesson needs words"),
        (("add", "x", "--repo", "ship"), 4, "there is no repository 'ship'"),
        (("list", "--repo", "ship"), 4, "there is no repository 'ship'"),
        (("list", "--state", "loud"), 2, "loud"),
    ],
)
def test_what_cannot_be_is_refused_with_the_exit_code_of_its_kind(
    home: Home, ledger: Ledger, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], status: int, said: str
) -> None:
    code, _, error = run(home, capsys, *words)
    assert (code, said in error) == (status, True), error


def test_a_move_the_life_of_a_lesson_does_not_know_is_a_conflict(
    home: Home, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, capsys, "confirm", "L-1")[0] == 0
    code, _, error = run(home, capsys, "confirm", "L-1")
    assert code == 1 and "it cannot become confirmed" in error
