"""What a forge was heard to say is kept like any other message, and read back whole."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from appliance.errors import UsageError
from appliance.intake.reading import SENDERS, polled, read
from appliance.news import ChangeNews, IssueNews
from appliance.work import Origin

THEN = datetime(2026, 11, 1, tzinfo=UTC)
NEWS = (
    IssueNews(action="edited", origin=Origin(number="7"), title="Ünïcode \x00 title", labels=("factory",), at=THEN),
    ChangeNews(origin=Origin(kind="change", number="8"), state="merged", branch="factory/W-1", at=THEN),
)


def test_what_was_polled_is_read_back_with_its_own_times() -> None:
    delivery, raw = polled("shop", "gitea", "c1", NEWS)
    assert (delivery.source, delivery.event, delivery.size) == ("poll", "gitea", len(raw))
    assert read(delivery, raw) == NEWS


def test_the_same_news_from_the_same_cursor_is_the_same_delivery_and_any_other_is_not() -> None:
    one, again, later = (polled("shop", "gitea", cursor, NEWS)[0].id for cursor in ("c1", "c1", "c2"))
    assert one == again != later
    assert polled("shop", "gitea", "c1", NEWS[:1])[0].id != one


def test_nobody_can_send_what_the_box_polls_itself() -> None:
    assert "poll" not in SENDERS


def test_what_cannot_be_read_back_is_refused_in_words() -> None:
    delivery, _ = polled("shop", "gitea", "", ())
    with pytest.raises(UsageError, match="cannot be read"):
        read(delivery, b'[{"what":"weather"}]')
