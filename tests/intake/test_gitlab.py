"""What GitLab says in its own way: merges without a commit, approvals, asked changes, pipelines of many jobs."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.intake.reading import read
from appliance.line.steering import own_deed
from appliance.news import ChangeNews, CommentNews, Delivery, IssueNews, News, PipelineNews, ReviewNews
from tests.intake.senders import COMMIT, of_gitlab, packed

MERGED = {"iid": 9, "action": "merge", "source_branch": "factory/W-1", "last_commit": {"id": COMMIT}}
UPDATED = {**MERGED, "action": "update"}
PIPELINE = {"id": 31, "status": "failed", "sha": COMMIT, "ref": "factory/W-1", "source": "push"}


def told(body: dict[str, Any]) -> list[News]:
    return list(read(Delivery(source="gitlab", repo="shop", id="1", event="Hook"), packed(body)))


def reviewer(state: str, login: str = "mira") -> dict[str, Any]:
    return {"username": login, "state": state, "re_requested": False}


def job(name: str, status: str, by: str = "mira", **fields: Any) -> dict[str, Any]:
    return {"name": name, "status": status, "user": {"username": by}, **fields}


def test_a_fast_forward_leaves_the_request_s_own_commit() -> None:
    for commit in ({"merge_commit_sha": None}, {"merge_commit_sha": ""}, {}):
        (news,) = told(of_gitlab("merge_request", {**MERGED, **commit}))
        assert isinstance(news, ChangeNews) and (news.state, news.commit) == ("merged", COMMIT)
    (news,) = told(of_gitlab("merge_request", {**MERGED, "merge_commit_sha": "5" * 40}))
    assert isinstance(news, ChangeNews) and news.commit == "5" * 40


def test_what_was_put_on_an_issue_just_now_is_told_beside_all_that_is_there() -> None:
    attributes = {"iid": 7, "title": "Off", "action": "update", "state": "opened", "url": "u"}
    both, one = [{"title": "bug"}, {"title": "factory"}], [{"title": "bug"}]
    for before, after, added in ((one, both, ("factory",)), (both, one, ()), (both, both, ())):
        moved = {"labels": {"previous": before, "current": after}}
        (news,) = told(of_gitlab("issue", attributes, labels=after, changes=moved))
        assert isinstance(news, IssueNews) and (news.action, news.added) == ("labelled", added)
    moved = {"assignees": {"previous": [], "current": [{"username": "box"}]}}
    (news,) = told(of_gitlab("issue", attributes, assignees=[{"username": "box"}], changes=moved))
    assert isinstance(news, IssueNews) and (news.action, news.added) == ("assigned", ("box",))


@pytest.mark.parametrize(
    ("what", "name"), [("train", "merge train pipeline"), ("merge", "merge_request_event pipeline")]
)
def test_a_pipeline_of_a_request_names_it_whether_in_a_train_or_on_its_merge_tried_out(what: str, name: str) -> None:
    of_request = {**PIPELINE, "source": "merge_request_event", "sha": "7" * 40}
    (news,) = told(of_gitlab("pipeline", {**of_request, "ref": f"refs/merge-requests/9/{what}"}))
    assert isinstance(news, PipelineNews)
    assert (news.request, news.branch, news.name, news.commit) == ("9", "", name, "7" * 40)
    request = {"iid": 9, "source_branch": "factory/W-1"}
    (news,) = told(of_gitlab("pipeline", {**of_request, "ref": "factory/W-1"}, merge_request=request))
    assert isinstance(news, PipelineNews) and (news.request, news.branch) == ("9", "factory/W-1")
    (news,) = told(of_gitlab("pipeline", PIPELINE, merge_request=None))
    assert isinstance(news, PipelineNews) and (news.request, news.branch) == ("", "factory/W-1")


def test_a_request_that_is_closed_names_no_commit() -> None:
    (news,) = told(of_gitlab("merge_request", {**MERGED, "action": "close"}))
    assert isinstance(news, ChangeNews) and (news.state, news.commit) == ("closed", "")


@pytest.mark.parametrize("shape", ["pair", "named"])
def test_a_reviewer_who_comes_to_ask_for_changes_is_heard(shape: str) -> None:
    sides = [[reviewer("review_started")], [reviewer("requested_changes")]]
    moved: Any = sides if shape == "pair" else {"previous": sides[0], "current": sides[1]}
    (news,) = told(of_gitlab("merge_request", UPDATED, changes={"reviewers": moved}))
    assert isinstance(news, ReviewNews)
    assert (news.by, news.verdict, news.branch, news.commit) == ("mira", "changes", "factory/W-1", COMMIT)


@pytest.mark.parametrize(
    "moved",
    [
        [[reviewer("requested_changes")], [reviewer("requested_changes"), reviewer("unreviewed", "omar")]],
        [[reviewer("requested_changes")], [reviewer("unreviewed")]],
        [[], [reviewer("requested_changes", "omar")]],
        [[reviewer("unreviewed")]], {"current": "x"}, "x", {}, [], None, [None, [None, {"state": 1}]],
    ],
)  # fmt: skip
def test_other_changes_of_reviewers_say_nothing(moved: Any) -> None:
    assert told(of_gitlab("merge_request", UPDATED, changes={"reviewers": moved})) == []


def test_a_remark_beside_a_line_is_a_comment_on_the_request() -> None:
    note = {"id": 31, "note": "why?", "noteable_type": "MergeRequest", "type": "DiffNote", "url": "u"}
    (news,) = told(of_gitlab("note", note, merge_request={"iid": 9, "source_branch": "factory/W-1"}))
    assert isinstance(news, CommentNews) and (news.origin.kind, news.origin.number) == ("change", "9")


def test_a_pipeline_of_a_push_of_the_box_is_not_its_own_deed_and_names_the_jobs_that_failed() -> None:
    jobs = [job("lint", "failed"), job("slow", "failed", allow_failure=True), job("factory/test", "success", "box")]
    body = {**of_gitlab("pipeline", PIPELINE, builds=jobs), "user": {"username": "box"}}
    (news,) = told(body)
    assert isinstance(news, PipelineNews) and own_deed(news, "box") == ""
    assert (news.name, news.outcome, news.text) == ("push pipeline", "failure", "Failed jobs: lint")


def test_a_pipeline_that_failed_by_the_box_s_own_statuses_says_nothing() -> None:
    jobs = [job("lint", "success"), job("factory/test", "failed", "box")]
    assert told(of_gitlab("pipeline", PIPELINE, builds=jobs)) == []


def test_statuses_from_outside_count_one_by_one_and_the_box_s_are_its_own_deeds() -> None:
    jobs = [job("factory/test", "success", "box"), job("site/ci", "failed"), job("site/slow", "running")]
    heard = told(of_gitlab("pipeline", {**PIPELINE, "source": "external", "status": "running"}, builds=jobs))
    assert [(one.name, one.outcome, bool(own_deed(one, "box"))) for one in heard if isinstance(one, PipelineNews)] == [
        ("factory/test", "success", True), ("site/ci", "failure", False),
    ]  # fmt: skip


def test_the_pipeline_that_mends_a_failing_one_has_its_name() -> None:
    names = {one.name for status in ("failed", "success") for one in told(
        of_gitlab("pipeline", {**PIPELINE, "id": 31 + len(status), "status": status})
    ) if isinstance(one, PipelineNews)}  # fmt: skip
    assert names == {"push pipeline"}


def test_a_pipeline_without_an_address_of_its_own_is_found_below_its_project() -> None:
    (news,) = told(of_gitlab("pipeline", PIPELINE, project={"web_url": "https://git.example/team/shop"}))
    assert isinstance(news, PipelineNews) and news.url == "https://git.example/team/shop/-/pipelines/31"
