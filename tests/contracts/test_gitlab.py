"""What GitLab has that other forges have not: paths in one part, quick actions, positions, editions, code owners,
approvals without a commit, requests that take note of a push late."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Home
from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable
from appliance.line.steering import who_handed_over
from appliance.mirror.forges import adapter, gitlab_said
from appliance.mirror.forges.gitlab import GitlabForge
from appliance.mirror.workspace import Clone
from appliance.news import ChangeNews, CommentNews, IssueNews, ReviewNews
from appliance.ports import Forge, Rights
from appliance.work import Finding, Origin, Result, TrackedRepository
from tests.contracts.conftest import LONG, SETTINGS
from tests.contracts.forges.gitlab import Gitlab
from tests.contracts.forges.nouns import Token
from tests.contracts.forges.server import serving
from tests.contracts.test_forges import DRAFT, committed
from tests.e2e.world import remote

HOOK = "http://box.example/hooks/gitlab/shop"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Gitlab]:
    with serving(Gitlab(remote(tmp_path, "shop", LONG))) as running:
        yield running


def checked(forge: Forge, what: str) -> tuple[str, str]:
    (found,) = [one for one in forge.check("main", HOOK) if one.what == what]
    return found.result, found.found


def test_a_project_s_path_goes_as_one_part_through_all_pages(forge: Forge, server: Gitlab) -> None:
    for title in ("one", "two", "three"):
        server.open_issue("ann", title)
    heard, _ = forge.news("2020-01-01T00:00:00Z")
    assert {one.title for one in heard if isinstance(one, IssueNews)} == {"one", "two", "three"}
    project = GitlabForge(forge._client, "team/shop/")  # type: ignore[attr-defined]
    with pytest.raises(NotFound):
        project.close(Origin(number="1"))


def test_findings_stand_on_changed_and_unchanged_lines_far_from_the_change_too(
    forge: Forge, server: Gitlab, clone: Clone
) -> None:
    proposal = forge.propose(clone, committed(clone), DRAFT)
    inside = Finding(rule="S101", path="shop.py", line=1, message="assert used", tool="ruff")
    findings = [inside, inside.with_(line=2, message="near"), inside.with_(line=30, message="far")]
    for _ in range(2):
        forge.review(proposal, [*findings, inside.with_(path="till.py", message="elsewhere")])
    shown = [(line.path, line.line) for review in server.reviews for line in review.lines]
    assert shown == [("shop.py", 1), ("shop.py", 2), ("shop.py", 30)]
    (comment,) = server.comments
    assert "`till.py` line 1" in comment.text and "elsewhere" in comment.text


def test_no_text_of_the_box_is_carried_out(forge: Forge, server: Gitlab, clone: Clone) -> None:
    number = server.open_issue("ann", "The sum is wrong")
    forge.propose(clone, committed(clone), DRAFT.with_(title="Draft: mend", text="see\n/approve\n  /merge"))
    for _ in range(2):
        forge.say(Origin(number=str(number)), "W-1:progress", "/close\n\r/reopen\n/label ~done")
    (change,) = server.changes.values()
    assert server.carried_out == [] and server.issues[number].open and not change.draft
    assert len(server.comments) == 1 and "/label ~done" in server.comments[0].text


def test_an_approval_that_the_forge_keeps_after_a_push_is_not_of_the_new_head(
    forge: Forge, server: Gitlab, clone: Clone
) -> None:
    server.protect(approvals=1)
    number = int(forge.propose(clone, committed(clone), DRAFT).number)
    server.review("ann", number, "approved")
    server.commit("ann", DRAFT.branch, "one more", {"shop.py": "PRICE = 3\n"})
    seen = forge.proposal(DRAFT)
    assert seen and (seen.approved_by, seen.blockers) == ((), ())
    server.dismiss("ann", server.reviews[0].id)
    server.review("owner", number, "approved")
    seen = forge.proposal(DRAFT)
    assert seen and seen.approved_by == ("owner",)


def test_a_request_that_takes_note_of_a_push_late_is_merged_once_it_did(
    forge: Forge, server: Gitlab, clone: Clone
) -> None:
    server.protect()
    server.lags = True
    commit = committed(clone)
    assert forge.land(clone, commit, DRAFT) == server.head("main")
    assert server.git("rev-parse", "main^2") == commit


@pytest.mark.parametrize("style", ["rebase-merge", "fast-forward"])
def test_what_is_merged_in_a_line_alone_does_not_land_on_a_target_that_moved(
    forge: Forge, server: Gitlab, clone: Clone, style: str
) -> None:
    server.protect()
    server.styles = [style]
    commit = committed(clone)
    forge.propose(clone, commit, DRAFT)
    moved = server.commit("ann", "main", "other", {"other.py": "X = 1\n"})
    with pytest.raises(Conflict):
        forge.land(clone, commit, DRAFT.with_(onto=moved))
    assert server.head("main") == moved


def test_code_owners_have_their_say_even_where_the_branch_takes_pushes(
    forge: Forge, server: Gitlab, clone: Clone
) -> None:
    server.protect()
    server.owned = True
    with pytest.raises(PolicyRefused, match=r"1 more approval of people is required \(\*\.py\)"):
        forge.land(clone, committed(clone), DRAFT)
    assert "code owners among them" in checked(forge, "branch")[1]


def test_a_branch_that_maintainers_alone_merge_into_is_told_and_left_to_them(
    forge: Forge, server: Gitlab, clone: Clone
) -> None:
    server.protect()
    server.merging = "admin"
    assert checked(forge, "branch") == ("warn", "main takes no merges of the box")
    with pytest.raises(PolicyRefused, match="takes no merges of the box"):
        forge.land(clone, committed(clone), DRAFT)


@pytest.mark.parametrize(
    ("told", "kind", "word"),
    [
        ({"merge_error": "pre-receive hook declined"}, PolicyRefused, "hook declined"),
        ({"state": "locked"}, Unavailable, "still merges"),
    ],
)
def test_a_merge_that_is_taken_and_does_not_happen_has_not_landed(
    forge: Forge, server: Gitlab, clone: Clone, told: dict[str, str], kind: type[FactoryError], word: str
) -> None:
    server.protect()
    server.merge_fails = told
    with pytest.raises(kind, match=word):
        forge.land(clone, committed(clone), DRAFT)


def test_the_free_edition_requires_no_approvals_and_still_tells_of_them(
    forge: Forge, server: Gitlab, clone: Clone
) -> None:
    server.protect()
    server.free = True
    number = int(forge.propose(clone, committed(clone), DRAFT).number)
    server.review("ann", number, "approved")
    seen = forge.proposal(DRAFT)
    assert seen and (seen.approved_by, seen.blockers) == (("ann",), ())
    assert "this edition cannot require them" in checked(forge, "branch")[1]


def test_a_check_tells_how_many_approvals_the_branch_itself_wants(forge: Forge, server: Gitlab) -> None:
    server.protect(approvals=2)
    assert checked(forge, "branch") == ("pass", "main is merged into by request; reviews required: 2")


def test_a_token_without_the_scope_is_told_which_it_lacks(forge: Forge, server: Gitlab) -> None:
    server.tokens = {"t0ken": Token("factory", frozenset({"read_api"}))}
    assert checked(forge, "rights") == ("fail", "factory has a token with the scopes read_api: api is missing")


def test_a_token_that_ends_soon_is_warned_of(forge: Forge, server: Gitlab) -> None:
    assert checked(forge, "rights") == ("pass", "factory may write; its token ends on 2099-01-01")
    server.token_ends = "2020-01-01"
    assert checked(forge, "rights") == ("warn", "factory may write; its token ends on 2020-01-01")


def test_an_administrator_s_check_tells_what_is_wrong_with_the_webhook(
    home: Home, tracked: TrackedRepository, server: Gitlab
) -> None:
    (home.secrets / "forge-shop.token").write_text("0wner")
    forge = adapter(home, tracked, SETTINGS)
    assert checked(forge, "webhook") == ("warn", "none to this box is seen: it polls")
    hook = server.hook(HOOK, "s3cret")
    assert checked(forge, "webhook") == ("pass", f"{HOOK}, a webhook of the project")
    hook.active = False
    assert checked(forge, "webhook")[0] == "warn" and "switched the webhook off" in checked(forge, "webhook")[1]


def test_news_within_a_minute_of_others_are_heard_though_nothing_says_that_there_are_some(
    forge: Forge, server: Gitlab
) -> None:
    number = server.open_issue("ann", "The sum is wrong")
    server.throttled = True
    _, cursor = forge.news("")
    server.comment("ann", number, "/factory stop")
    heard, _ = forge.news(cursor)
    assert [one.text for one in heard if isinstance(one, CommentNews)] == ["/factory stop"]


def test_asked_changes_come_with_what_was_written_beside_them(forge: Forge, server: Gitlab, clone: Clone) -> None:
    commit = committed(clone)
    number = int(forge.propose(clone, commit, DRAFT).number)
    _, cursor = forge.news("")
    server.comment("ann", number, "/factory explain", "change")
    server.review("ann", number, "changes", "ten must stay ten")
    (review,) = [one for one in forge.news(cursor)[0] if isinstance(one, ReviewNews)]
    assert (review.by, review.verdict, review.text, review.commit) == ("ann", "changes", "ten must stay ten", commit)


def test_a_label_of_a_guest_s_issue_counts_as_who_put_it_there(
    forge: Forge, server: Gitlab, tracked: TrackedRepository
) -> None:
    _, cursor = forge.news("")
    by_guest = server.open_issue("guest", "Work for me", ("factory",))
    by_ann = server.open_issue("guest", "The sum is wrong")
    server.label("ann", by_ann, "factory")
    server.label("ann", by_guest, "bug")
    server.label("guest", by_ann, "urgent")
    heard = [one for one in forge.news(cursor)[0] if isinstance(one, IssueNews)]
    hands = {(one.origin.number, who_handed_over(one, tracked, "factory")) for one in heard}
    assert hands == {(str(by_guest), "guest"), (str(by_ann), "ann"), (str(by_ann), "guest")}
    assert (forge.rights("guest"), forge.rights("ann")) == (Rights.READ, Rights.WRITE)


def test_a_status_that_stands_there_already_is_no_failure(forge: Forge, server: Gitlab, clone: Clone) -> None:
    commit = committed(clone)
    clone.publish(commit, DRAFT.branch)
    for verdict in (None, None, Result.PASS, None):
        forge.status(commit, "test", verdict, "", "http://box.example")
    assert [one.state for one in server.statuses] == ["running", "success", "running"]
    with pytest.raises(NotFound):
        forge.status("0" * 39 + "1", "test", None, "", "")


def test_a_request_closed_there_names_who_did_it(forge: Forge, server: Gitlab, clone: Clone) -> None:
    number = int(forge.propose(clone, committed(clone), DRAFT).number)
    _, cursor = forge.news("")
    server.edit("ann", "change", number, open=False)
    (news,) = [one for one in forge.news(cursor)[0] if isinstance(one, ChangeNews)]
    assert (news.by, news.state, news.branch) == ("ann", "closed", DRAFT.branch)


@pytest.mark.parametrize("around", [0, 1, 3])
def test_each_line_of_a_changed_file_is_known_by_where_it_was(around: int) -> None:
    old = [f"line {number}" for number in range(40)]
    new = ["first", *old[:5], "a", "b", *old[6:12], *old[14:20], "c", *old[21:39]]
    diff = "\n".join(list(difflib.unified_diff(old, new, n=around, lineterm=""))[2:])
    for number, text in enumerate([*new, "beyond"], 1):
        there = old.index(text) + 1 if text in old else None
        assert gitlab_said.old_line(diff, number) == (41 if text == "beyond" else there), text


def test_a_draft_s_title_is_made_ready() -> None:
    for title in ("Draft: mend", "[Draft] mend", "(draft) Draft: mend", "mend"):
        assert gitlab_said.ready(title) == "mend"


def test_what_a_request_waits_for_is_said_once_and_in_words() -> None:
    owed: dict[str, Any] = {"approvals_left": 2, "approval_rules_left": [{"name": "QA", "rule_type": "regular"}]}
    waits = gitlab_said.blockers({"detailed_merge_status": "not_approved"}, owed, ())
    assert waits == ("2 more approvals of people is required (QA)",)
    assert gitlab_said.blockers({"detailed_merge_status": "requested_changes"}, {}, ("ann",)) == (
        "ann asks for changes",
    )
    assert gitlab_said.blockers({"detailed_merge_status": "ci_must_pass"}, {}, ()) == ("its pipeline has to pass",)
    assert gitlab_said.blockers({"detailed_merge_status": "news_of_2030"}, {}, ()) == ("the forge says news_of_2030",)
    assert gitlab_said.blockers({"merge_status": "cannot_be_merged"}, {}, ()) == ("it does not merge cleanly",)
    assert gitlab_said.blockers({"detailed_merge_status": "checking"}, {}, ()) == ()
