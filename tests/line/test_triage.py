from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from appliance.autonomy import effective
from appliance.errors import Unavailable
from appliance.line.triage import judge_kind, judge_severity, names_in, run
from appliance.settings import AutonomySettings, Settings
from appliance.work import Autonomy, Kind, State, TrackedRepository, WorkItem


def item(title: str, body: str = "", id: str = "W-9", **more: Any) -> WorkItem:
    return WorkItem(id=id, repo="shop", title=title, body=body, **more)


class Vectors:
    """A model whose vectors are given."""

    def __init__(self, *vectors: list[float]) -> None:
        self.vectors = list(vectors)

    def embed(self, texts: list[str]) -> list[list[float]]:
        return self.vectors[: len(texts)]


class Away:
    def embed(self, texts: list[str]) -> list[list[float]]:
        raise Unavailable("the gateway does not answer")


def parts(*others: WorkItem, model: Any = None) -> Any:
    tracked = TrackedRepository(name="shop", url="u", branch="main", autonomy=Autonomy.HIGH)
    return SimpleNamespace(settings=Settings(), tracked=tracked, open_items=others, model=model or Away())


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("slug() returns the wrong thing", Kind.BUG),
        ("please add support for yaml", Kind.FEATURE),
        ("please add a test, parse() crashes on empty input", Kind.BUG),
        ("outage in production since 8:00", Kind.INCIDENT),
        ("cve-2026-1 in the parser", Kind.FINDING),
        ("hello", Kind.BUG),
    ],
)
def test_kind_follows_the_words(words: str, kind: Kind) -> None:
    assert judge_kind(item("t"), words)[0] is kind


def test_the_senders_kind_counts() -> None:
    assert judge_kind(item("t", kind=Kind.FEATURE), "it crashes")[0] is Kind.FEATURE


@pytest.mark.parametrize(
    ("words", "severity"), [("data loss", 1), ("it crashes", 2), ("a typo in the docs", 4), ("odd result", 3)]
)
def test_severity_follows_the_words(words: str, severity: int) -> None:
    assert judge_severity(Kind.BUG, words)[0] == severity


@pytest.mark.parametrize("cap", list(Autonomy))
@pytest.mark.parametrize("own", list(Autonomy))
def test_autonomy_is_the_lower_of_cap_and_repository(cap: Autonomy, own: Autonomy) -> None:
    order = list(Autonomy)
    tracked = TrackedRepository(name="shop", url="u", branch="main", autonomy=own)
    level = effective(AutonomySettings(cap=cap), tracked)
    assert order.index(level.effective) == min(order.index(cap), order.index(own))
    assert level.why


def test_the_same_words_are_a_duplicate_even_without_a_model() -> None:
    outcome = run(item("slug( ) is  wrong"), parts(item("Slug( ) is wrong", id="W-1")))
    assert (outcome.item.state, outcome.item.duplicate_of) == (State.DUPLICATE, "W-1")


def test_a_similar_report_naming_the_same_function_is_a_duplicate() -> None:
    model = Vectors([1.0, 0.0], [0.95, 0.31])
    outcome = run(item("`slug` loses a letter"), parts(item("letters get lost in `slug`", id="W-1"), model=model))
    assert outcome.item.state is State.DUPLICATE
    assert "cosine 0.95" in outcome.reason and "slug" in outcome.reason


def test_a_similar_report_about_another_function_is_not() -> None:
    model = Vectors([1.0, 0.0], [0.95, 0.31])
    outcome = run(item("slug() loses a letter"), parts(item("wrap() loses a letter", id="W-1"), model=model))
    assert outcome.item.state is State.TRIAGED
    assert "nearest open item is W-1" in outcome.reason


def test_without_the_model_triage_goes_on_and_says_so() -> None:
    outcome = run(item("slug() loses a letter"), parts(item("other words", id="W-1")))
    assert outcome.item.state is State.TRIAGED
    assert "could not be judged (the gateway does not answer)" in outcome.reason


def test_names_are_calls_snake_case_and_back_ticks() -> None:
    assert names_in("`Cart.total` and parse(x) and read_all but not plain words") == {"Cart.total", "parse", "read_all"}


def test_what_a_person_told_apart_is_no_duplicate_again() -> None:
    twin = item("the same words", id="W-7")
    assert run(item("the same words"), parts(twin)).item.duplicate_of == "W-7"
    apart = run(item("the same words", told_apart=("W-7",)), parts(twin)).item
    assert (apart.state, apart.duplicate_of) == (State.TRIAGED, "")
    assert run(item("the same words"), parts(twin.with_(told_apart=("W-9",)))).item.state is State.TRIAGED
