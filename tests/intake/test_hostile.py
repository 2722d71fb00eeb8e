"""Hostile messages at every reader: whatever a node of a real message is made into, it is read or refused in words."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.intake.reading import SENDERS, read
from appliance.news import Delivery
from tests.intake.senders import CHANGE, COMMIT, ISSUE, of_github, of_gitlab

FORGE = {
    "issues": of_github(action="labeled", issue=ISSUE),
    "issue_comment": of_github(action="created", issue=ISSUE, comment={"id": 4, "body": "/factory fix"}),
    "pull_request": of_github(action="closed", pull_request=CHANGE),
    "pull_request_review": of_github(
        action="submitted", pull_request=CHANGE, review={"state": "approved", "body": "", "commit_id": COMMIT}
    ),
    "push": of_github(ref="refs/heads/main", before=COMMIT, after="6" * 40),
    "status": of_github(context="ci", state="failure", sha=COMMIT, branches=[{"name": "main"}]),
}
GITLAB = {
    "Issue Hook": of_gitlab("issue", {"iid": 7, "title": "t", "action": "open", "state": "opened", "url": ""}),
    "Merge Request Hook": of_gitlab("merge_request", {"iid": 9, "action": "merge", "state": "merged"}),
    "Note Hook": of_gitlab("note", {"id": 4, "note": "/factory fix", "noteable_type": "Issue"}, issue={"iid": 7}),
}
ALERT = {
    "version": "4",
    "alerts": [{"status": "firing", "fingerprint": "f", "startsAt": "s", "labels": {"a": "b"}, "annotations": {}}],
}
REAL: list[tuple[str, str, Any]] = [
    *((source, event, body) for source in ("github", "gitea", "forgejo") for event, body in FORGE.items()),
    *(("gitlab", event, body) for event, body in GITLAB.items()),
    ("alertmanager", "alerts", ALERT),
    ("generic", "report", {"title": "t", "body": {"a": [1]}, "id": 4, "status": "open"}),
]
WORDS = ["", "\x00", "\U0001f4a9" * 400, "../..", "\u2028"]
NONSENSE = st.sampled_from([*WORDS, None, True, -1, 0, 10**400, 1e308, 2**63, -(2**64), [], [None], [[]], {}, {"": {}}])


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """A real message with one to three of its nodes made into something else."""
    source, event, body = draw(st.sampled_from(REAL))
    made = json.loads(json.dumps(body))
    for _ in range(draw(st.integers(1, 3))):
        node: Any = made
        while isinstance(node, dict | list) and node:
            place = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[place], dict | list) or draw(st.booleans()):
                node[place] = deepcopy(draw(NONSENSE))
                break
            node = node[place]
    return source, event, json.dumps(made).encode()


def tell(source: str, event: str, raw: bytes) -> None:
    try:
        for one in read(Delivery(source=source, repo="shop", id="d", event=event, size=len(raw)), raw):
            one.model_dump_json()
    except UsageError as error:
        assert error.message and "\n" not in error.message


@settings(max_examples=400)
@given(spoilt())
def test_a_real_message_with_any_node_spoilt_is_read_or_refused_in_words(sent: tuple[str, str, bytes]) -> None:
    tell(*sent)


@pytest.mark.parametrize("source", sorted(SENDERS))
@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":' * 5000 + b"1" + b"}" * 5000, b"[" * 100_000, b'{"title":"\\ud800"}', b'{"title":"\xed\xa0\x80"}',
        b'{"id":1e999999}', b'{"id":' + b"9" * 5000 + b"}", b'{"action":"opened","action":[]}', b"{}", b"null", b"\x00",
    ],
)  # fmt: skip
def test_deep_huge_twice_named_and_broken_json_is_read_or_refused_in_words(source: str, raw: bytes) -> None:
    for event in ("issues", "push", "Issue Hook", "report", ""):
        tell(source, event, raw)
