"""Any JSON becomes reports, by the usual names or a repository's own mapping; what has no title is refused in words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.intake import generic
from appliance.intake.reading import MOST_NEWS, read
from appliance.news import Delivery, ReportNews
from tests.intake.senders import SECRET, hexadecimal, packed

BODY = b'{"title": "Totals are off"}'


def told(body: Any, mapping: dict[str, tuple[str, ...]] | None = None) -> tuple[ReportNews, ...]:
    raw = body if isinstance(body, bytes) else packed(body)
    return read(Delivery(source="generic", repo="shop", id="1"), raw, mapping)  # type: ignore[return-value]


def test_the_usual_names_need_no_mapping() -> None:
    (news,) = told({"id": 7, "subject": "Totals\n are off", "text": "by a cent", "type": "Bug", "priority": "urgent",
                    "reporter": "mira"})  # fmt: skip
    assert (news.key, news.title, news.kind, news.by) == ("7", "Totals are off", "bug", "mira")
    assert news.body == "by a cent\n\nseverity: urgent" and not news.resolved


def test_a_mapping_says_where_things_are_and_what_is_always_so() -> None:
    mapping = {
        "each": ("/events",), "title": ("/rule/none", "/rule/na~1me"), "key": ("/ids/0",), "kind": ("=incident",),
        "resolved": ("/end",), "body": ("/rule",),
    }  # fmt: skip
    generic.check(mapping)
    event = {"rule": {"na/me": "Disk full"}, "ids": ["a1", "a2"], "end": "OK"}
    one, two = told({"events": [event, {**event, "end": False, "ids": []}]}, mapping)
    assert (one.title, one.key, one.kind, one.resolved) == ("Disk full", "a1", "incident", True)
    assert json.loads(one.body) == {"na/me": "Disk full"}
    assert not two.resolved and two.key.startswith("sha256:")


def test_without_a_text_the_whole_message_is_the_text_and_the_same_one_has_the_same_key() -> None:
    first, again = told({"title": "x", "deep": {"a": 1}})[0], told({"deep": {"a": 1}, "title": "x"})[0]
    assert '"a": 1' in first.body and first.key == again.key


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"titel": ("/a",)}, "no 'titel'"), ({"title": ()}, "0 places"), ({"title": ("a.b",)}, "no JSON pointer"),
        ({"title": ("/a~2",)}, "~ by itself"), ({"kind": ("=bugs",)}, "no kind"),
        ({"each": ("=x",)}, "no JSON pointer"),
        ({"title": ("/" + "a" * 300,)}, "200 characters"), ({"title": ("/a",) * 17}, "17 places"),
    ],
)  # fmt: skip
def test_a_mapping_that_makes_no_sense_is_refused(mapping: dict[str, tuple[str, ...]], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        generic.check(mapping)


@pytest.mark.parametrize(
    ("body", "mapping", "problem"),
    [
        ({"nothing": 1}, {}, "no title"), ({"title": "  "}, {}, "no title"), ({"title": True}, {}, "no title"),
        ({"events": {}}, {"each": ("/events",)}, "no list at /events"),
        ({"events": [{"title": "a"}, 3]}, {"each": ("/events",)}, r"message\[1\] has no title"),
        ({"events": [{"title": "a"}] * (MOST_NEWS + 1)}, {"each": ("/events",)}, "501 things"),
        (b'{"title": "\\ud800"}', {}, "not JSON"), (b'{"title": 1e999}', {}, "not JSON"),
        (b'{"a": NaN}', {}, "not JSON"),
    ],
)  # fmt: skip
def test_a_message_that_makes_no_sense_is_refused(body: Any, mapping: Any, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        told(body, mapping)


def test_the_last_of_doubled_keys_counts_huge_numbers_stay_texts_and_no_nul_gets_through() -> None:
    (news,) = told(b'{"title": "a", "title": "b\\u0000c", "id": 123456789012345678901234567890}')
    assert news.title == "b\N{REPLACEMENT CHARACTER}c" and news.key.startswith("1.23456789")


def test_a_body_is_signed_or_the_secret_shown_and_a_wrong_signature_is_not_made_up_for() -> None:
    bearer = {"authorization": f"Bearer {SECRET}"}
    for name in ("x-signature", "x-signature-256", "x-hub-signature-256"):
        for prefix in ("", "sha256="):
            assert generic.verify({name: prefix + hexadecimal(BODY, SECRET)}, BODY, [SECRET])
        assert not generic.verify({name: "00", **bearer}, BODY, [SECRET])
    assert generic.verify(bearer, BODY, [SECRET]) and not generic.verify({}, BODY, [SECRET])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*generic.USUAL, "x"]), inner),
    max_leaves=12,
)
PLACES = st.lists(st.text("/~01abtile=", max_size=6), min_size=1, max_size=3).map(tuple)


@given(JSON, st.dictionaries(st.sampled_from(list(generic.USUAL)), PLACES, max_size=4))
def test_any_json_is_news_or_a_clear_refusal_under_any_mapping(body: Any, mapping: dict[str, tuple[str, ...]]) -> None:
    try:
        generic.check(mapping)
        for news in generic.read_any(packed(body), mapping):
            assert news.title.strip() and news.key
    except UsageError as error:
        assert error.message and error.hint
