"""A name and a secret, put wherever somebody can put words: where they are still found when they are to be gone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from appliance.config import Home
from appliance.events import STAGE_FACTS, Fact
from appliance.learning import people
from appliance.learning.priors import FILE
from appliance.learning.service import Learning
from appliance.learning.tables import DERIVED
from appliance.settings import Settings
from tests.learning.test_keeping import Stopped
from tests.learning.world import Telling, calls, spooled

NAME, SECRET = "zerafine", "ghp_abcdefghijklmnopqrstuvwxyz0123"
WORDS = f"{NAME} says that {SECRET} is the key, and https://{NAME}:{SECRET}@git.site/x is the place"


def say_everywhere(telling: Telling) -> None:
    """Events of every kind with the words in every text."""

    def stage(name: str, to: str, **facts: Any) -> None:
        telling.say(STAGE_FACTS[name], "W-1", stage=name, to=to, reason=WORDS, by=f"person:{NAME}", wall_seconds=1.0,
                    facts=facts, **{"from": ""})  # fmt: skip

    scope = {"repo": "shop", "path": "", "language": "python", "stage": "build", "role": ""}
    tried = {"strategy": "droid", "model": "coder", "outcome": "plausible", "tried": 1, "plausible": 1, "seconds": 1.0,
             "detail": WORDS, "candidates": [{"origin": "model", "files": ["a.py"], "why": WORDS}]}  # fmt: skip
    found = {"tool": "bandit", "rule": "B1", "path": "a.py", "line": 1, "severity": "note", "message": WORDS}
    telling.say(Fact.SIGNAL_RECEIVED, "S-1", repo="shop", title=WORDS, body=WORDS, author=NAME, kind="incident",
                source="cli", key="")  # fmt: skip
    stage("signal", "received", signal="S-1")
    stage("triage", "triaged", why=WORDS)
    stage("build", "built", rule="r", candidates=["coder"], asked={"task": "repair"}, **{"attempt 1": tried})
    stage("review", "needs_human", **{"model-review": {"verdict": "FAIL", "reason": WORDS}})
    stage("secure", "secured", verdict="PASS", reason=WORDS, new=[found])
    stage("ship", "shipped", commit="c" * 40)
    for verb in ("approve", "answer", "reject"):
        telling.say(Fact.COMMAND_GIVEN, "W-1", verb=verb, by=NAME, text=WORDS, number=1)
    telling.say(Fact.STAGE_ERRED, "W-1", stage="test", why=WORDS)
    lesson = {"text": WORDS, "why": WORDS, "scope": scope, "source": "hand", "home": "shop", "support": 1}
    telling.say(
        Fact.LESSON_PROPOSED, "L-1", lesson=lesson, by=f"person:{NAME}", why=WORDS, to="proposed", **{"from": ""}
    )
    telling.say(Fact.USER_ADDED, f"user {NAME}", by=NAME, role="viewer")
    telling.say(Fact.SIGN_IN_REFUSED, f"user {NAME}", address="10.0.0.1", tries=3)
    stage("learn", "closed", strategy="droid", model="coder", repo="shop", template="", place="if", paths=["a.py"])


@pytest.fixture
def told(home: Home) -> Iterator[Telling]:
    telling = Telling(home)
    say_everywhere(telling)
    named = {**dict.fromkeys(("person", "task", "stage", "episode"), NAME), "at": "2026-11-02T08:00:00.000+00:00"}
    lines = [{**line, **named, "asked": {**line["asked"], "team": NAME}} for line in calls(range(3))]
    spooled(home, lines, "usage-20261102.jsonl")
    yield telling
    telling.ledger.close()


def rows_of(learning: Learning) -> dict[str, str]:
    """Each table as text: by questions, and as exported."""
    told = {table: str(learning._store.ask(f"SELECT * FROM {table}", {}, 5)) for table in DERIVED}
    for file in Path(learning.answer({"ask": "export"})["folder"]).glob("*.parquet"):
        with duckdb.connect() as reading:
            told[f"{file.stem} as Parquet"] = str(reading.execute(f"SELECT * FROM '{file}'").fetchall())
    return told


def holding(word: str, told: dict[str, str]) -> list[str]:
    return sorted(where for where, said in told.items() if word in said.casefold())


def test_a_forgotten_name_and_any_secret_are_in_no_table_export_file_policy_or_log(
    home: Home, told: Telling, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    learning = Learning(home, Settings())
    learning.catch_up()
    before = rows_of(learning)
    assert len(holding(NAME, before)) > 20, "the name was put everywhere"
    assert holding(SECRET, before) == []
    people.forget(learning.ledger, NAME.title())
    learning.rebuild()
    learning.publish_priors()
    assert holding(NAME, rows_of(learning)) == []
    learning.close()
    for file in [*home.root.glob("learning.duckdb*"), *home.policy.rglob("*.json")]:
        content = file.read_bytes().lower()
        assert NAME.encode() not in content and SECRET.encode() not in content, file
    assert (home.policy / FILE).is_file() and NAME not in caplog.text and SECRET not in caplog.text


def test_after_the_days_of_texts_no_words_of_people_are_left_and_none_come_back(home: Home, told: Telling) -> None:
    settings = Settings.model_validate({"learning": {"texts_days": 10, "calls_days": 10}})
    learning = Learning(home, settings)
    learning.catch_up()
    assert told.time == datetime(2026, 11, 2, 8, tzinfo=UTC)
    learning.ledger.clock = Stopped(f"{told.time + timedelta(days=20):%Y-%m-%dT%H:%M:%S}")
    learning.keep()

    def tables() -> dict[str, str]:
        return {table: str(learning._store.ask(f"SELECT * FROM {table}", {}, 5)) for table in DERIVED}

    assert holding(NAME, tables()) == [] and not list(home.spool.iterdir())
    kept = learning.digest()
    learning.rebuild()
    assert learning.digest() == kept and holding(NAME, tables()) == []
    learning.close()
