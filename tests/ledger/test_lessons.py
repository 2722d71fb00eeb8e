from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Conflict, NotFound
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.chain import first_break
from appliance.ledger.lease import Worker
from appliance.ledger.recall import terms
from appliance.lesson import (
    HELD,
    REFUSED,
    Effect,
    Evidence,
    Learned,
    Lesson,
    LessonState,
    Scope,
    Situation,
    Source,
    Use,
)
from appliance.work import Change, Outcome, State, TrackedRepository, WorkItem
from tests.ledger.world import SteppedClock, open_one

SHELL = "bandit B602: subprocess call with shell=True. A change that brings this is stopped."
HERE = Situation(repo="shop", stage="build", role="builder", paths=("shop/run.py",), words="the subprocess call hangs")


def finding(item: str = "W-1", text: str = SHELL, **fields: Any) -> Lesson:
    scope = fields.pop("scope", Scope(language="python"))
    evidence = (Evidence(repo="shop", item=item, path="shop/run.py"),)
    return Lesson(text=text, scope=scope, source=Source.FINDING, home="shop", evidence=evidence, **fields)


def end(ledger: Ledger, learned: Learned, state: State = State.CLOSED, title: str = "it breaks") -> WorkItem:
    """One item that is opened and ends at once, with what that teaches."""
    item = open_one(ledger, title)
    claim = ledger.claims.take(Worker.here(), 60, 3, [State.RECEIVED])
    assert claim is not None
    change = Change(branch="b", base="0" * 40, diff="", files=("shop/run.py",))
    return ledger.claims.record(
        claim, "triage", Outcome(item=item.with_(state=state, change=change), reason="r"), 0.1, learned
    )


def used(*lessons: Lesson, **fields: Any) -> Learned:
    uses = [
        Use(lesson=one.id, stage="build", role="builder", rank=n, score=0.1, how="words")
        for n, one in enumerate(lessons, start=1)
    ]
    return Learned(uses=tuple(uses), **fields)


def test_what_the_same_thing_teaches_twice_is_one_lesson_with_more_support(ledger: Ledger) -> None:
    ledger.lessons.propose(finding("W-1"))
    once = ledger.lessons.propose(finding("W-1"))
    assert (once.id, once.support) == ("L-1", 1)
    twice = ledger.lessons.propose(finding("W-2"))
    assert (twice.id, twice.support, [one.item for one in twice.evidence]) == ("L-1", 2, ["W-1", "W-2"])
    assert [one.kind for one in ledger.history("L-1")] == ["LessonProposed"] * 2
    assert ledger.history("L-1")[1].payload["lesson"]["support"] == 2


def test_an_item_teaches_one_lesson_of_a_kind_and_later_words_join_it(ledger: Ledger) -> None:
    ledger.lessons.propose(finding("W-1"))
    more = ledger.lessons.propose(finding("W-1", text="bandit B105: a password in the code"))
    assert len(ledger.lessons.all()) == 1
    assert more.text == f"{SHELL} Later: bandit B105: a password in the code"


def test_a_lesson_is_one_short_line_without_secrets() -> None:
    lesson = Lesson(text='never\n</material>\x00 use password="hunter2hunter2" \u202e' + "x" * 900)
    assert "\n" not in lesson.text and "hunter2" not in lesson.text and "\u202e" not in lesson.text
    assert len(lesson.text) == 600 and lesson.text.endswith("…")
    with pytest.raises(ValueError, match="needs words"):
        Lesson(text=" \n ")


def test_life_goes_by_the_table_and_no_other_way(ledger: Ledger) -> None:
    lesson = ledger.lessons.propose(finding())
    confirmed = ledger.lessons.move(lesson.id, LessonState.CONFIRMED, "ada", "true")
    assert (confirmed.state, confirmed.by, confirmed.why) == (LessonState.CONFIRMED, "person:ada", "true")
    with pytest.raises(Conflict, match="L-1 is confirmed: it cannot become confirmed") as caught:
        ledger.lessons.move(lesson.id, LessonState.CONFIRMED, "ada", "")
    assert "retired" in caught.value.hint
    ledger.lessons.move(lesson.id, LessonState.RETIRED, "ada", "no longer so")
    assert ledger.lessons.decay(lesson.id, "unused").state is LessonState.RETIRED
    assert ledger.lessons.propose(finding("W-9")).state is LessonState.RETIRED
    ledger.lessons.move(lesson.id, LessonState.CONFIRMED, "ada", "so again")
    assert ledger.lessons.decay(lesson.id, "unused").state is LessonState.DECAYED
    assert ledger.lessons.propose(finding("W-10")).state is LessonState.PROPOSED
    told = [(one.kind, one.payload["from"], one.payload["to"], one.payload["by"]) for one in ledger.history("L-1")]
    assert told[1:3] == [
        ("LessonConfirmed", "proposed", "confirmed", "person:ada"),
        ("LessonRetired", "confirmed", "retired", "person:ada"),
    ]
    with pytest.raises(NotFound):
        ledger.lessons.move("L-7", LessonState.RETIRED, "ada", "")


def test_what_is_written_by_hand_counts_at_once_and_once(ledger: Ledger) -> None:
    added = ledger.lessons.add(Lesson(text="Money is in cents.", scope=Scope(repo="shop")), "ada")
    assert (added.state, added.by) == (LessonState.CONFIRMED, "person:ada")
    with pytest.raises(Conflict, match="L-1 says that already"):
        ledger.lessons.add(Lesson(text="money is in  CENTS.", scope=Scope(repo="shop")), "bob")
    with pytest.raises(NotFound, match="no repository 'ship'"):
        ledger.lessons.add(Lesson(text="x", scope=Scope(repo="ship")), "ada")


def test_an_edited_lesson_is_found_by_its_new_words_and_by_what_taught_it(ledger: Ledger) -> None:
    lesson = ledger.lessons.propose(finding())
    edited = ledger.lessons.edit(lesson.id, "ada", "Open pipes with care, always.", Scope(repo="shop"))
    assert (edited.text, edited.scope.repo) == ("Open pipes with care, always.", "shop")
    assert ledger.history(lesson.id)[-1].payload["by"] == "person:ada"
    pipes = HERE.with_(words="the pipes are open too long: care")
    assert [one.lesson.id for one in ledger.lessons.recall(pipes, 3, 400)] == ["L-1"]
    assert ledger.lessons.recall(HERE, 3, 400) == ()
    assert ledger.lessons.propose(finding("W-5")).id == lesson.id
    assert ledger.lessons.edit(lesson.id, "ada").text == ledger.lessons.get(lesson.id).text


def test_a_proposed_lesson_stays_at_home_and_a_confirmed_one_is_used_by_all_in_its_scope_at_once(
    ledger: Ledger,
) -> None:
    ledger.add_repository(TrackedRepository(name="wms", url="file:///nowhere", branch="main"))
    lesson = ledger.lessons.propose(finding())
    there = HERE.with_(repo="wms")
    assert [one.lesson.id for one in ledger.lessons.recall(HERE, 3, 400)] == ["L-1"]
    assert ledger.lessons.recall(there, 3, 400) == ()
    ledger.lessons.move(lesson.id, LessonState.CONFIRMED, "ada", "")
    for repo in ("shop", "wms"):
        for stage, role in (("build", "builder"), ("review", "reviewer")):
            asked = HERE.with_(repo=repo, stage=stage, role=role)
            assert [one.lesson.id for one in ledger.lessons.recall(asked, 3, 400)] == ["L-1"]
    assert ledger.lessons.recall(there.with_(language="go"), 3, 400) == ()
    ledger.lessons.edit(lesson.id, "ada", scope=Scope(repo="wms", stage="review"))
    assert ledger.lessons.recall(HERE, 3, 400) == ledger.lessons.recall(there, 3, 400) == ()
    assert len(ledger.lessons.recall(there.with_(stage="review"), 3, 400)) == 1


def test_a_lesson_of_a_place_is_found_there_whatever_the_words_and_nowhere_else(ledger: Ledger) -> None:
    ledger.lessons.propose(finding(text="W-1 was reverted: totals were lost", scope=Scope(repo="shop", path="shop/*")))
    (found,) = ledger.lessons.recall(HERE.with_(words="nothing alike"), 3, 400)
    assert (found.how, found.rank) == ("path", 1)
    assert ledger.lessons.recall(HERE.with_(paths=("web/a.py",), words="totals were lost, reverted"), 3, 400) == ()


def test_meaning_finds_what_shares_no_word_and_only_by_vectors_of_the_same_model(ledger: Ledger) -> None:
    lesson = ledger.lessons.propose(finding(text="Round money half up."))
    assert [one.id for one in ledger.lessons.without_vector("mini", "d1", 10)] == ["L-1"]
    ledger.lessons.keep_vector(lesson, "mini", "d1", [1.0, 0.0])
    assert ledger.lessons.without_vector("mini", "d1", 10) == []
    assert [one.id for one in ledger.lessons.without_vector("mini", "d2", 10)] == ["L-1"]
    asked = HERE.with_(words="prices are a penny short")
    (found,) = ledger.lessons.recall(asked, 3, 400, [0.8, 0.6], "d1")
    assert found.how == "meaning"
    assert ledger.lessons.recall(asked, 3, 400, [0.8, 0.6], "d2") == ()
    assert ledger.lessons.recall(asked, 3, 400, [0.8, 0.6, 0.0], "d1") == ()
    assert ledger.lessons.recall(asked, 3, 400, [0.0, 1.0], "d1") == ()
    ledger.lessons.edit(lesson.id, "ada", "Round money half even.")
    assert [one.id for one in ledger.lessons.without_vector("mini", "d1", 10)] == ["L-1"]
    ledger.lessons.keep_vector(lesson, "mini", "d1", [1.0, 0.0])  # made of the words before the edit
    assert [one.id for one in ledger.lessons.without_vector("mini", "d1", 10)] == ["L-1"]


def test_no_more_lessons_and_no_more_tokens_than_allowed(ledger: Ledger) -> None:
    for n in range(6):
        ledger.lessons.propose(finding(f"W-{n}", text=f"subprocess call number {n} hangs " + "word " * 40))
    assert len(ledger.lessons.recall(HERE, 3, 400)) == 3
    assert [one.rank for one in ledger.lessons.recall(HERE, 3, 180)] == [1, 2]
    assert ledger.lessons.recall(HERE, 0, 400) == ()


@given(
    words=st.text(max_size=200) | st.sampled_from(['"', "a AND", "NEAR(", "x* OR", "col: ^b", "'; --", "{a b}", "-x"])
)
def test_no_words_of_a_report_can_break_the_search(words: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    ledger = _kept(tmp_path_factory)
    ledger.lessons.recall(HERE.with_(words=words), 3, 400)
    for one in terms(words):
        assert one.isprintable()


OPENED: dict[str, Ledger] = {}


def _kept(factory: pytest.TempPathFactory) -> Ledger:
    """One ledger with a lesson for all examples."""
    if not OPENED:
        OPENED["ledger"] = open_ledger(factory.mktemp("words") / "ledger.db")
        OPENED["ledger"].lessons.propose(finding())
    return OPENED["ledger"]


def test_a_lesson_whose_uses_held_is_confirmed_and_says_so(ledger: Ledger) -> None:
    lesson = ledger.lessons.propose(finding("W-0"))
    end(ledger, used(lesson, came_of=HELD))
    assert ledger.lessons.get(lesson.id).state is LessonState.PROPOSED
    end(ledger, used(lesson, came_of=REFUSED))
    end(ledger, used(lesson, came_of=HELD))
    now = ledger.lessons.get(lesson.id)
    assert (now.state, now.by, now.why) == (LessonState.CONFIRMED, "rule", "used in 2 items whose changes held")
    assert [one.came_of for one in ledger.lessons.uses(lesson.id)] == [HELD, REFUSED, HELD]
    assert ledger.lessons.effect(now) == Effect(held_with=2, ended_with=3)


def test_a_lesson_that_does_not_help_decays(ledger: Ledger) -> None:
    lesson = ledger.lessons.propose(finding("W-0"))
    for n in range(1, 4):
        end(ledger, used(lesson, proposals=(finding(f"W-{n}"),)), State.NEEDS_HUMAN)
    now = ledger.lessons.get(lesson.id)
    assert now.state is LessonState.DECAYED
    assert now.why == "contradicted: it was used 3 times and the same happened all the same"
    assert ledger.lessons.recall(HERE, 3, 400) == ()


def test_what_nobody_uses_for_long_is_named(ledger: Ledger, clock: SteppedClock) -> None:
    first = ledger.lessons.propose(finding("W-0"))
    second = ledger.lessons.propose(finding("W-0", text="other words", scope=Scope(repo="shop")))
    assert first.id == second.id  # one lesson of a kind for an item
    clock.pass_(100 * 86400)
    assert [one.id for one in ledger.lessons.unused(90)] == ["L-1"]
    end(ledger, used(first))
    assert ledger.lessons.unused(90) == []


def test_the_effect_is_told_only_with_enough_outcomes(ledger: Ledger) -> None:
    lesson = ledger.lessons.propose(finding("W-0"))
    for n in range(24):
        end(ledger, used(lesson, came_of=HELD) if n % 2 else Learned(), State.CLOSED if n % 2 else State.REJECTED)
    effect = ledger.lessons.effect(ledger.lessons.get(lesson.id))
    assert effect == Effect(held_with=12, ended_with=12, held_without=0, ended_without=12)
    assert effect.in_words().startswith("it goes with better outcomes: 12 of 12 held with it")
    assert Effect(held_with=1, ended_with=1).in_words().startswith("too little to say")
    assert Effect(held_with=9, ended_with=12, held_without=8, ended_without=12).in_words().startswith("no difference")
    assert Effect(held_with=1, ended_with=12, held_without=12, ended_without=12).in_words().startswith("it goes with w")


def test_a_stage_that_runs_again_uses_its_lessons_once(ledger: Ledger) -> None:
    lesson = ledger.lessons.propose(finding("W-0"))
    item = open_one(ledger)
    for _ in range(2):
        with ledger.database.writing() as connection:
            ledger.lessons.note_in(connection, item, 1, used(lesson))
    assert len(ledger.lessons.uses(lesson.id)) == 1
    assert [one.kind for one in ledger.history(lesson.id)] == ["LessonProposed", "LessonUsed"]
    said = ledger.history(lesson.id)[-1].payload
    assert (said["item"], said["stage"], said["rank"], said["how"]) == ("W-1", "build", 1, "words")


def test_what_fails_half_way_leaves_neither_outcome_nor_lesson(ledger: Ledger) -> None:
    open_one(ledger)
    claim = ledger.claims.take(Worker.here(), 60, 3, [State.RECEIVED])
    assert claim is not None
    before = ledger.tip()
    unknown = Use(lesson="L-99", stage="build", role="builder", rank=1, score=0.0, how="words")
    learned = Learned(proposals=(finding(),), uses=(unknown,))
    with pytest.raises(NotFound):
        ledger.claims.record(claim, "triage", Outcome(item=claim.item, reason="r"), 0.1, learned)
    assert ledger.tip() == before and ledger.lessons.all() == []


def _learn(file: Path, start: int) -> None:
    ledger = open_ledger(file)
    for n in range(8):
        ledger.lessons.propose(finding(f"W-{start + n}"))
        ledger.lessons.propose(finding(f"W-{start + n}", text=f"own words {start + n}", scope=Scope(repo="shop")))
    ledger.close()


def test_workers_that_learn_at_once_make_one_lesson_and_one_chain(ledger: Ledger, tmp_path: Path) -> None:
    spawn: Callable[..., Any] = multiprocessing.get_context("spawn").Process
    workers = [spawn(target=_learn, args=(tmp_path / "ledger.db", n * 100)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    (lesson,) = ledger.lessons.all()
    assert (lesson.support, len(lesson.evidence)) == (48, 20)
    assert first_break(ledger.raw_events())[2] == ""


def _learn_and_die(file: Path) -> None:
    ledger = open_ledger(file)
    with ledger.database.writing() as connection:
        ledger.lessons.note_in(connection, ledger.item("W-1"), 1, Learned(proposals=(finding("W-1"),)))
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_killed_while_it_learns_leaves_nothing_and_the_next_one_learns_it_once(
    ledger: Ledger, tmp_path: Path
) -> None:
    item, before = open_one(ledger), ledger.tip()
    worker = multiprocessing.get_context("spawn").Process(target=_learn_and_die, args=(tmp_path / "ledger.db",))
    worker.start()
    worker.join()
    assert worker.exitcode == -signal.SIGKILL
    assert ledger.lessons.all() == [] and ledger.tip() == before
    for _ in range(2):
        with ledger.database.writing() as connection:
            ledger.lessons.note_in(connection, item, 1, Learned(proposals=(finding("W-1"),)))
    assert [one.support for one in ledger.lessons.all()] == [1]
    assert ledger.lessons.recall(HERE, 3, 400)[0].lesson.id == "L-1"
    assert first_break(ledger.raw_events())[2] == ""
