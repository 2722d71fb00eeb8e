"""The page that tells what the learned policy saved."""

from __future__ import annotations

from appliance.events import STAGE_FACTS, Event
from appliance.learning.savings import Saved
from control.savings import Savings, charted
from tests.control.learned import learning, publish
from tests.control.world import Console
from tests.learning.world import with_repositories


def test_weeks_become_bars_and_what_no_version_says_has_none() -> None:
    weeks = [Saved(week="2026-11-23", choices=2, seconds=3600.0), Saved(week="2026-11-30", choices=1, seconds=-900.0)]
    made = charted(weeks)
    assert [(name, values) for _, name, values in made.hours] == [("2026-W48", (1.0,)), ("2026-W49", (-0.25,))]
    assert [values for _, _, values in made.choices] == [(2,), (1,)] and made.tokens == made.model_hours == ()
    assert made.hours[0][0] % 86400 == 0 and made.hours[1][0] - made.hours[0][0] == 7 * 86400
    assert charted([]) == Savings()
    half = charted([weeks[0].with_(tokens=12.6), weeks[1]])
    assert [values for _, _, values in half.tokens] == [(13,), (None,)]


def test_the_page_tells_it_from_the_store_and_shows_its_question(console: Console) -> None:
    with_repositories(console.ledger)
    publish(console.home, console.ledger)  # small, 2.5 s and 400 tokens, before large, 21 s and 5,400
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
    assert 'data-v="250000"' in page, "and 5,000 tokens less each"
    assert "400" in page and "5400" in page, "what each took is told beside how often it held"
