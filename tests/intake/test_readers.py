"""Each sender's messages as news, and nonsense as a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.intake.reading import SENDERS, read
from appliance.news import Delivery
from tests.intake.senders import CHANGE, COMMIT, ISSUE, of_github, of_gitlab, packed

ZEROS = "0" * 40
COMMENT = {"id": 31, "body": "/factory fix"}
IN_PULL = {**ISSUE, "number": 9, "pull_request": {"html_url": "x"}}
PUSH = {"ref": "refs/heads/main", "before": "1" * 40, "after": COMMIT}

SHARED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("issues", of_github(action="opened", issue=ISSUE),
     {"what": "issue", "action": "opened", "title": "Totals are off", "body": "by a cent", "author": "omar",
      "by": "mira",
      "labels": ("factory",), "assignees": ("box",), "open": True}),
    ("issues", of_github(action="closed", issue={**ISSUE, "state": "closed", "assignees": None, "body": None}),
     {"what": "issue", "action": "closed", "open": False, "assignees": (), "body": ""}),
    ("issue_comment", of_github(action="created", issue=ISSUE, comment=COMMENT),
     {"what": "comment", "id": "31", "text": "/factory fix", "branch": "", "body": "by a cent", "author": "omar"}),
    ("pull_request", of_github(action="closed", pull_request=CHANGE),
     {"what": "change", "state": "merged", "commit": COMMIT, "branch": "factory/W-1"}),
    ("pull_request", of_github(action="closed", pull_request={**CHANGE, "merged": False}),
     {"what": "change", "state": "closed", "commit": ""}),
    ("pull_request", of_github(action="opened", pull_request={**CHANGE, "merged": False, "state": "open"}),
     {"what": "change", "state": "open", "commit": ""}),
    ("push", of_github(**PUSH), {"what": "push", "branch": "main", "after": COMMIT}),
    ("push", of_github(**{**PUSH, "after": ZEROS}), {"what": "push", "branch": "main", "after": ""}),
    ("status", of_github(context="ci/unit", state="failure", sha=COMMIT, branches=[{"name": "main"}],
                         description="2 red"),
     {"what": "pipeline", "name": "ci/unit", "outcome": "failure", "branch": "main", "text": "2 red"}),
    ("workflow_run", of_github(action="completed", workflow_run={
        "name": "CI", "conclusion": "success", "head_branch": "main", "head_sha": COMMIT}),
     {"what": "pipeline", "name": "CI", "outcome": "success", "commit": COMMIT}),
]  # fmt: skip
"""Said in the same words by GitHub, Gitea and Forgejo."""

OWN: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("github", "pull_request_review_comment", of_github(action="created", pull_request=CHANGE, comment=COMMENT),
     {"what": "comment", "branch": "factory/W-1"}),
    ("github", "pull_request_review", of_github(action="submitted", pull_request=CHANGE, review={
        "state": "changes_requested", "body": "no", "commit_id": COMMIT}),
     {"what": "review", "verdict": "changes", "text": "no", "commit": COMMIT}),
    ("gitea", "pull_request_approved", of_github(action="reviewed", pull_request=CHANGE, review={
        "type": "pull_request_review_approved", "content": "good"}),
     {"what": "review", "verdict": "approved", "text": "good", "commit": "6" * 40}),
    ("forgejo", "pull_request_rejected", of_github(action="reviewed", pull_request=CHANGE, review={"content": "no"}),
     {"what": "review", "verdict": "changes"}),
    ("gitea", "issues", of_github(action="label_updated", issue=ISSUE), {"what": "issue", "action": "labelled"}),
    ("github", "issues", of_github(action="labeled", issue=ISSUE, label={"name": "factory"}),
     {"what": "issue", "action": "labelled", "added": ("factory",)}),
    ("gitlab", "Issue Hook", of_gitlab("issue", {
        "iid": 7, "title": "Off", "description": "by a cent", "action": "update", "state": "opened", "url": "u"},
        labels=[{"title": "factory"}], changes={"labels": {}}),
     {"what": "issue", "action": "labelled", "labels": ("factory",), "by": "mira", "open": True}),
    ("gitlab", "Note Hook", of_gitlab("note", {
        "id": 31, "note": "/factory stop", "noteable_type": "MergeRequest", "url": "u"},
        merge_request={"iid": 9, "source_branch": "factory/W-1"}),
     {"what": "comment", "text": "/factory stop", "branch": "factory/W-1"}),
    ("gitlab", "Merge Request Hook", of_gitlab("merge_request", {
        "iid": 9, "action": "merge", "source_branch": "b", "merge_commit_sha": COMMIT}),
     {"what": "change", "state": "merged", "commit": COMMIT}),
    ("gitlab", "Merge Request Hook", of_gitlab("merge_request", {
        "iid": 9, "action": "approval", "source_branch": "b", "last_commit": {"id": COMMIT}}),
     {"what": "review", "verdict": "approved", "commit": COMMIT}),
    ("gitlab", "Merge Request Hook", of_gitlab("merge_request", {
        "iid": 9, "action": "unapproved", "source_branch": "b"}),
     {"what": "review", "verdict": "dismissed"}),
    ("gitlab", "Push Hook", {"object_kind": "push", "user_username": "mira", **PUSH}, {"what": "push", "by": "mira"}),
    ("gitlab", "Pipeline Hook", of_gitlab("pipeline", {"id": 4, "status": "failed", "sha": COMMIT, "ref": "main"}),
     {"what": "pipeline", "outcome": "failure", "name": "push pipeline", "branch": "main"}),
    ("alertmanager", "alerts", {"version": "4", "alerts": [{
        "status": "resolved", "fingerprint": "ab12", "labels": {"alertname": "Full", "host": "n1"},
        "annotations": {"summary": "The disk is full"}, "startsAt": "2026-01-01T00:00:00Z"}]},
     {"what": "report", "key": "ab12@2026-01-01T00:00:00Z", "resolved": True, "title": "The disk is full",
      "kind": "incident"}),
]  # fmt: skip

ALL = [(source, *row) for row in SHARED for source in ("github", "gitea", "forgejo")] + OWN

SILENT = [
    ("github", "ping", {"zen": "calm"}), ("github", "star", {}),
    ("github", "issues", of_github(action="pinned", issue=ISSUE)),
    ("github", "issue_comment", of_github(action="deleted", issue=ISSUE, comment=COMMENT)),
    ("github", "push", of_github(**{**PUSH, "ref": "refs/tags/v1"})),
    ("github", "status", of_github(context="c", state="pending", sha=COMMIT)),
    ("gitlab", "Note Hook", of_gitlab("note", {"system": True, "noteable_type": "Issue"})),
    ("gitlab", "Note Hook", of_gitlab("note", {"noteable_type": "Commit"})),
    ("gitlab", "Merge Request Hook", of_gitlab("merge_request", {"iid": 9, "action": "update", "source_branch": "b"})),
    ("gitlab", "Pipeline Hook", of_gitlab("pipeline", {"id": 4, "status": "running", "sha": COMMIT})),
    ("gitlab", "Wiki Page Hook", {"object_kind": "wiki_page"}),
]  # fmt: skip


def said(source: str, event: str, raw: bytes) -> list[dict[str, Any]]:
    return [dict(one) for one in read(Delivery(source=source, repo="shop", id="1", event=event), raw)]


@pytest.mark.parametrize(
    ("source", "event", "body", "expected"), ALL, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_message_says_what_happened(source: str, event: str, body: dict[str, Any], expected: dict[str, Any]) -> None:
    (news,) = said(source, event, packed(body))
    assert {name: news[name] for name in expected} == expected


@pytest.mark.parametrize(("source", "event", "body"), SILENT)
def test_what_nobody_acts_on_says_nothing(source: str, event: str, body: dict[str, Any]) -> None:
    assert said(source, event, packed(body)) == []


def test_a_comment_under_a_pull_request_is_one_about_a_change() -> None:
    (news,) = said("github", "issue_comment", packed(of_github(action="created", issue=IN_PULL, comment=COMMENT)))
    assert (news["origin"].kind, news["origin"].number) == ("change", "9")


def test_news_are_of_the_time_when_the_message_came() -> None:
    delivery = Delivery(source="github", repo="shop", id="1", event="push")
    (news,) = read(delivery, packed(of_github(**PUSH)))
    assert news.at == delivery.received


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"), (b"\xff\xfe{}", "not JSON"), (b"[1]", "no object"),
        (b'{"action": "opened"}', "issue is not"),
        (packed(of_github(action="opened", issue={**ISSUE, "number": "7"})), "issue.number is not a number"),
        (packed(of_github(action="opened", issue={**ISSUE, "title": " "})), "issue.title is not a text"),
        (packed(of_github(action="opened", issue={**ISSUE, "labels": [1]})), "issue.labels is not a list"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_its_place(raw: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        said("github", "issues", raw)


@pytest.mark.parametrize("source", sorted(SENDERS))
@pytest.mark.parametrize("depth", [64, 1000, 1_000_000])
def test_a_message_nested_too_deep_is_refused_whatever_its_depth(source: str, depth: int) -> None:
    for raw in (b'{"a":' + b"[" * depth + b"]" * depth + b"}", b'{"a":' * depth + b"1" + b"}" * depth):
        with pytest.raises(UsageError):
            said(source, "issues", raw)


EVENTS = sorted({row[1] for row in ALL})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(SENDERS)), st.sampled_from(EVENTS), st.binary(max_size=64))
def test_no_bytes_crash_a_reader(source: str, event: str, raw: bytes) -> None:
    _read_or_refuse(source, event, raw)


@given(st.sampled_from(ALL), st.data())
def test_no_field_of_another_shape_crashes_a_reader(row: tuple[str, str, Any, Any], data: st.DataObject) -> None:
    source, event, body, _ = row
    changed = json.loads(json.dumps(body))
    place = changed
    while True:
        name = data.draw(st.sampled_from(sorted(place)))
        if not (isinstance(place[name], dict) and place[name]) or data.draw(st.booleans()):
            break
        place = place[name]
    place[name] = data.draw(JSON)
    _read_or_refuse(source, event, packed(changed))


def _read_or_refuse(source: str, event: str, raw: bytes) -> None:
    try:
        said(source, event, raw)
    except UsageError as error:
        assert error.message and error.hint
