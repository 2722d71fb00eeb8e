"""By whose right an issue counts as handed over: who set the label or the assignment, and not who touched it since."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.line.steering import who_handed_over
from appliance.news import IssueNews
from appliance.work import Origin, TrackedRepository

BY_GUEST = {"by": "ann", "author": "guest"}


@pytest.mark.parametrize(
    ("fields", "who"),
    [
        ({"action": "opened", "by": "guest"}, "guest"),
        ({"action": "labelled", "added": ("factory",), **BY_GUEST}, "ann"),
        ({"action": "labelled", "added": ("bug",), **BY_GUEST}, "guest"),
        ({"action": "labelled", **BY_GUEST}, "ann"),  # the sender does not say which
        ({"action": "assigned", "added": ("Box",), **BY_GUEST}, "ann"),
        ({"action": "assigned", "added": ("omar",), **BY_GUEST}, "guest"),
        ({"action": "edited", **BY_GUEST}, "guest"),
        ({"action": "reopened", "by": "ann"}, "nobody it names"),
    ],
)
@pytest.mark.parametrize("forge", ["gitlab", "github"])
def test_where_anybody_may_label_what_he_opens_it_is_who_did(forge: Any, fields: dict[str, Any], who: str) -> None:
    tracked = TrackedRepository(name="shop", url="file:///nowhere", branch="main", forge=forge, project="t/s")
    news = IssueNews(**{"origin": Origin(number="7"), "title": "wrong", "labels": ("factory", "bug"), **fields})
    assert who_handed_over(news, tracked, "box") == who
