"""What the learned policy saved: counted where it was followed, and nowhere else."""

from __future__ import annotations

from typing import Any

from appliance.events import STAGE_FACTS, Event
from control.learned_policy import Judged, Known, Version
from control.savings import Savings, saved
from tests.control.learned import learning, publish
from tests.control.world import Console
from tests.learning.world import with_repositories

CELL = Judged(
    rule="repair", before=("large", "small"), order=("small", "large"), changes=True,
    candidates=(Known(candidate="small", seconds=2.0), Known(candidate="large", seconds=20.0)),
)  # fmt: skip
VERSION = Version(number=3, judged=(CELL,))
NOTHING = Savings()


def row(chosen: str = "small", choices: int = 100, **more: Any) -> dict[str, Any]:
    return {"week": "2026-11-23", "rule": "repair", "repo": "shop", "version": 3, "chosen": chosen, "choices": choices,
            "explored": 0, **more}  # fmt: skip


def test_choices_that_followed_a_version_are_summed_by_week() -> None:
    later = row(week="2026-11-30", choices=50)
    made = saved([row(), row(repo="api"), later], [VERSION])
    assert [(name, values) for _, name, values in made.hours] == [("2026-W48", (1.0,)), ("2026-W49", (0.25,))]
    assert [values for _, _, values in made.choices] == [(200,), (50,)]
    assert made.hours[0][0] % 86400 == 0 and made.hours[1][0] - made.hours[0][0] == 7 * 86400


def test_what_did_not_follow_it_or_has_no_times_is_not_counted() -> None:
    assert saved([row("large"), row(version=4), row(rule="other"), row(explored=100)], [VERSION]) == NOTHING
    assert saved([row()], [Version(number=3, judged=(CELL.with_(changes=False),))]) == NOTHING
    assert saved([row()], [Version(number=3, judged=(CELL.with_(candidates=CELL.candidates[:1]),))]) == NOTHING
    assert saved([row()], [Version(number=3, broken="its file cannot be read")]) == NOTHING


def test_a_repositorys_own_order_comes_before_the_rules_and_a_slower_one_is_a_loss() -> None:
    own = CELL.with_(repo="shop", before=("small", "large"), order=("large", "small"))
    both = [Version(number=3, judged=(CELL, own))]
    assert saved([row("small")], both) == NOTHING, "in this repository the version says large"
    assert saved([row("large")], both).hours[0][2] == (-0.5,)


def test_the_page_tells_it_from_the_store_and_shows_its_question(console: Console) -> None:
    with_repositories(console.ledger)
    publish(console.home, console.ledger)  # small, 2.5 s, before large, 21 s
    assert "What following it saved" not in console.browser().get("/learning/policy").text
    facts = {"rule": "code repair", "candidates": ["small", "large"], "policy_version": 1}
    for n in range(1, 51):
        told = {"stage": "build", "to": "built", "reason": "because", "by": "small", "wall_seconds": 1.0,
                "from": "planned", "facts": facts}  # fmt: skip
        console.ledger.append(Event(kind=STAGE_FACTS["build"], subject=f"W-{n}", payload=told))
    away = console.browser().get("/learning/policy")
    assert away.status_code == 200 and "not known just now" in away.text
    with learning(console.home):
        page = console.browser().get("/learning/policy").text
    assert "What following it saved" in page and "policy_weeks" in page
    assert 'data-v="0.26"' in page and 'data-v="50"' in page, "50 choices that took 18.5 s less"
