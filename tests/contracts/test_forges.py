"""What every forge must do for the box, over each adapter and a faithful server of its API."""

from __future__ import annotations

from datetime import timedelta

import pytest

from appliance.errors import Conflict, NotFound, PolicyRefused, Unavailable
from appliance.mirror.forges.words import when
from appliance.mirror.workspace import Clone
from appliance.news import ChangeNews, CommentNews, IssueNews, ReviewNews
from appliance.ports import Draft, Forge, Rights
from appliance.work import Finding, Origin, Result
from tests.contracts.forges.nouns import Token
from tests.contracts.forges.server import Hook, Server

DRAFT = Draft(item="W-1", branch="factory/w-1", target="main", title="Mend the sum", text="Why and how", closes="1")


def committed(clone: Clone, message: str = "Mend the sum") -> str:
    return clone.commit(message, [("Factory-Item", "W-1")])


def test_a_request_proposed_twice_is_one_and_has_the_newest_words(forge: Forge, server: Server, clone: Clone) -> None:
    commit = committed(clone)
    first = forge.propose(clone, commit, DRAFT)
    again = forge.propose(clone, commit, DRAFT.with_(title="Mend the sum at last"))
    assert first.number == again.number and len(server.changes) == 1
    (change,) = server.changes.values()
    assert change.title == "Mend the sum at last" and "Closes #1" in change.body
    assert again.state == "open" and again.commit == commit == server.head(DRAFT.branch)


def test_a_request_that_is_proposed_again_unchanged_stays_as_it_is(forge: Forge, server: Server, clone: Clone) -> None:
    commit = committed(clone)
    first, again = forge.propose(clone, commit, DRAFT), forge.propose(clone, commit, DRAFT)
    assert first == again and not [call for call in server.calls if call.startswith(("PATCH", "PUT"))]


def test_there_is_no_proposal_before_one_was_made(forge: Forge) -> None:
    assert forge.proposal(DRAFT) is None


def test_a_request_after_a_closed_one_of_its_branch_is_a_new_one(forge: Forge, server: Server, clone: Clone) -> None:
    commit = committed(clone)
    first = forge.propose(clone, commit, DRAFT)
    server.edit("ann", "change", int(first.number), open=False)
    seen = forge.proposal(DRAFT)
    assert seen and seen.state == "closed" and seen.number == first.number
    second = forge.propose(clone, commit, DRAFT)
    assert second.number != first.number and second.state == "open"
    seen = forge.proposal(DRAFT)
    assert seen and (seen.number, seen.state) == (second.number, "open")


def test_a_request_that_somebody_else_opened_is_not_the_box_s(forge: Forge, server: Server) -> None:
    server.commit("ann", DRAFT.branch, "hers", {"shop.py": "PRICE = 3\n"})
    server.open_change("ann", DRAFT.branch, "main", "hers")
    assert forge.proposal(DRAFT) is None


def test_a_free_branch_takes_the_push_itself(forge: Forge, server: Server, clone: Clone) -> None:
    commit = committed(clone)
    assert forge.land(clone, commit, DRAFT) == commit == server.head("main")
    assert server.changes == {}


def test_a_protected_branch_waits_for_its_reviews_and_then_merges_on_the_forge(
    forge: Forge, server: Server, clone: Clone
) -> None:
    server.protect(approvals=1)
    commit, before = committed(clone), server.head("main")
    with pytest.raises(PolicyRefused, match="1 more approval of people is required"):
        forge.land(clone, commit, DRAFT)
    assert server.head("main") == before
    (number,) = server.changes
    server.review("ann", number, "approved")
    landed = forge.land(clone, commit, DRAFT)
    assert landed == server.head("main") == server.changes[number].merged
    seen = forge.proposal(DRAFT)
    assert seen and seen.state == "merged" and seen.commit == landed and seen.approved_by == ("ann",)


def test_a_merge_said_twice_is_one(forge: Forge, server: Server, clone: Clone) -> None:
    server.protect()
    commit = committed(clone)
    assert forge.land(clone, commit, DRAFT) == forge.land(clone, commit, DRAFT) == server.head("main")
    assert len(server.changes) == 1


@pytest.mark.parametrize("style", ["merge", "squash", "rebase", "rebase-merge", "fast-forward"])
def test_whatever_the_style_of_the_merge_the_target_has_the_tested_tree_and_its_trailer(
    forge: Forge, server: Server, clone: Clone, style: str
) -> None:
    if style not in server.offers:
        pytest.skip(f"{server.kind} has no merge of the style {style}")
    server.protect(approvals=0)
    server.styles = [style]
    commit = committed(clone)
    landed = forge.land(clone, commit, DRAFT)
    assert landed == server.head("main")
    assert server.git("rev-parse", f"{landed}^{{tree}}") == server.git("rev-parse", f"{commit}^{{tree}}")
    trailers = server.git("log", "--format=%(trailers:key=Factory-Item,valueonly,separator=%x2C)", landed)
    assert "W-1" in trailers.splitlines()[0]


def test_nothing_lands_on_a_target_that_moved_since_the_tests(forge: Forge, server: Server, clone: Clone) -> None:
    server.protect(approvals=0)
    commit = committed(clone)
    other = server.commit("ann", "main", "other")
    with pytest.raises(Conflict):
        forge.land(clone, commit, DRAFT)
    assert server.head("main") == other


def test_an_approved_request_lands_as_it_stands_on_the_head_of_the_target_it_was_tested_on(
    forge: Forge, server: Server, clone: Clone
) -> None:
    server.protect(approvals=1)
    commit = committed(clone)
    number = int(forge.propose(clone, commit, DRAFT).number)
    server.review("ann", number, "approved")
    tested_on = server.commit("ann", "main", "other", {"other.py": "X = 1\n"})
    landed = forge.land(clone, commit, DRAFT.with_(onto=tested_on))
    assert landed == server.head("main")
    assert {"shop.py", "other.py"} <= set(server.git("ls-tree", "--name-only", "main").split())
    assert (server.changes[number].open, len(server.changes)) == (False, 1)


def test_a_push_of_somebody_else_to_the_box_s_branch_stops_it(forge: Forge, server: Server, clone: Clone) -> None:
    commit = committed(clone)
    forge.propose(clone, commit, DRAFT.with_(over=""))
    theirs = server.commit("ann", DRAFT.branch, "by a person")
    for over in ("", commit):
        with pytest.raises(Conflict):
            forge.propose(clone, commit, DRAFT.with_(over=over))
    forge.withdraw(clone, DRAFT.with_(over=commit), "it has landed")
    assert server.head(DRAFT.branch) == theirs


def test_an_approval_of_an_older_head_does_not_count(forge: Forge, server: Server, clone: Clone) -> None:
    number = int(forge.propose(clone, committed(clone), DRAFT).number)
    server.review("ann", number, "approved")
    seen = forge.proposal(DRAFT)
    assert seen and seen.approved_by == ("ann",)
    moved = server.commit("ann", DRAFT.branch, "by a person")
    later = forge.proposal(DRAFT)
    assert later and later.commit == moved and later.approved_by == ()


def test_asked_changes_and_approvals_of_guests(forge: Forge, server: Server, clone: Clone) -> None:
    number = int(forge.propose(clone, committed(clone), DRAFT).number)
    server.review("guest", number, "approved")
    server.review("ann", number, "changes")
    seen = forge.proposal(DRAFT)
    assert seen and seen.approved_by == () and seen.changes_asked_by == ("ann",)
    assert "ann asks for changes" in seen.blockers


def test_a_withdrawn_request_is_closed_with_its_reason_and_its_branch_is_gone(
    forge: Forge, server: Server, clone: Clone
) -> None:
    forge.propose(clone, committed(clone), DRAFT)
    for _ in range(2):
        forge.withdraw(clone, DRAFT, "a person took it over")
    (change,) = server.changes.values()
    assert not change.open and not server.head(DRAFT.branch)
    assert [one.text.endswith("a person took it over") for one in server.comments] == [True]


def test_a_comment_of_one_mark_is_rewritten_and_nobody_else_s_is_touched(forge: Forge, server: Server) -> None:
    number = server.open_issue("ann", "The sum is wrong")
    server.comment("ann", number, "<!-- factory:W-1:progress -->\nmine")
    for text in ("planned", "built", "built"):
        forge.say(Origin(number=str(number)), "W-1:progress", text)
    assert [one.text.splitlines()[-1] for one in server.comments] == ["mine", "built"]


def test_findings_are_shown_once_on_their_lines(forge: Forge, server: Server, clone: Clone) -> None:
    proposal = forge.propose(clone, committed(clone), DRAFT)
    finding = Finding(rule="S101", path="shop.py", line=1, message="assert used", tool="ruff")
    for findings in ([finding], [finding, finding.with_(line=2, message="another")]):
        forge.review(proposal, findings)
    shown = [line for review in server.reviews for line in review.lines]
    assert [(line.path, line.line) for line in shown] == [("shop.py", 1), ("shop.py", 2)]


def test_each_gate_has_its_status(forge: Forge, server: Server, clone: Clone) -> None:
    commit = committed(clone)
    clone.publish(commit, DRAFT.branch)
    for verdict in (None, Result.PASS, Result.FAIL, Result.INCONCLUSIVE):
        forge.status(commit, "test", verdict, "", "")
    assert [one.state for one in server.statuses] == list(server.states)
    assert {one.gate for one in server.statuses} == {"factory/test"}


def test_an_issue_is_closed(forge: Forge, server: Server) -> None:
    number = server.open_issue("ann", "The sum is wrong")
    for _ in range(2):
        forge.close(Origin(number=str(number)))
    assert not server.issues[number].open
    with pytest.raises(NotFound):
        forge.close(Origin(number="999"))


@pytest.mark.parametrize(
    ("login", "rights"),
    [("owner", Rights.ADMIN), ("ann", Rights.WRITE), ("guest", Rights.READ), ("nobody", Rights.NONE)],
)
def test_rights(forge: Forge, server: Server, login: str, rights: Rights) -> None:
    assert server.people.get(login, "none") == rights
    assert forge.rights(login) is rights


def test_news_tell_of_people_and_never_of_the_box(forge: Forge, server: Server, clone: Clone) -> None:
    nothing, cursor = forge.news("")
    assert nothing == ()
    number = server.open_issue("ann", "The sum is wrong", ("factory",))
    server.open_issue("ann", "Another")
    server.open_issue("ann", "A third")  # more than a page holds
    forge.say(Origin(number=str(number)), "W-1:progress", "planned")
    server.comment("ann", number, "/factory stop")
    change = int(forge.propose(clone, committed(clone), DRAFT).number)
    server.review("ann", change, "approved")
    server.merge(change, "merge")
    heard, _ = forge.news(cursor)
    assert {one.title for one in heard if isinstance(one, IssueNews)} == {"The sum is wrong", "Another", "A third"}
    assert [one.text for one in heard if isinstance(one, CommentNews)] == ["/factory stop"]
    assert [(one.by, one.verdict) for one in heard if isinstance(one, ReviewNews)] == [("ann", "approved")]
    assert [(one.state, one.commit) for one in heard if isinstance(one, ChangeNews)] == [
        ("merged", server.head("main"))
    ]


def test_news_of_a_closed_issue_say_when_it_was_closed(forge: Forge, server: Server) -> None:
    _, cursor = forge.news("")
    number = server.open_issue("ann", "The sum is wrong", ("factory",))
    server.close_issue("ann", number)
    for _ in range(2):
        (told,) = [one for one in forge.news(cursor)[0] if isinstance(one, IssueNews)]
        assert not told.open and told.closed and told.by in ("ann", "")  # Gitea does not say who
        assert abs(told.closed - when(server.issues[number].closed)) < timedelta(seconds=1)
        server.comment("ann", number, "closed, and talked about")
    server.edit("ann", "issue", number, open=True)
    (told,) = [one for one in forge.news(cursor)[0] if isinstance(one, IssueNews)]
    assert told.open and told.closed is None


def test_a_forge_that_asks_to_wait_is_unavailable_and_says_how_long(forge: Forge, server: Server) -> None:
    server.limited = True
    with pytest.raises(Unavailable) as error:
        forge.rights("ann")
    assert "17 s" in error.value.hint


def test_a_token_that_is_refused_is_told_and_never_shown(forge: Forge, server: Server) -> None:
    server.tokens = {"another": Token("factory", server.scopes)}
    with pytest.raises(PolicyRefused) as error:
        forge.rights("ann")
    assert "t0ken" not in str(error.value.as_dict())


def test_a_server_that_restarts_is_away_and_then_there_again(forge: Forge, server: Server) -> None:
    number = server.open_issue("ann", "The sum is wrong")
    server.stop()
    with pytest.raises(Unavailable):
        forge.rights("ann")
    server.start()
    assert forge.rights("ann") is Rights.WRITE
    forge.close(Origin(number=str(number)))
    assert not server.issues[number].open


def test_a_check_names_what_is_missing_and_the_line_to_add(forge: Forge, server: Server) -> None:
    found = {one.what: one for one in forge.check("main", f"http://box.example/hooks/{server.kind}/shop")}
    assert [found[what].result for what in ("reach", "rights", "branch", "webhook")] == ["pass", "pass", "pass", "warn"]
    assert "http://box.example/hooks" in found["webhook"].fix
    assert "may not see those of the project and team" in found["webhook"].found
    server.people["factory"] = "read"
    found = {one.what: one for one in forge.check("main", f"http://box.example/hooks/{server.kind}/shop")}
    assert found["rights"].result == "fail" and all(scope in found["rights"].fix for scope in server.scopes)


@pytest.mark.parametrize(("place", "whose"), [("hooks", "the project"), ("team_hooks", "team")])
def test_a_check_finds_the_webhook_of_the_project_or_of_who_owns_it(
    forge: Forge, server: Server, place: str, whose: str
) -> None:
    url = f"http://box.example/hooks/{server.kind}"
    server.people["factory"] = "admin"
    getattr(server, place).append(Hook(1, url if place == "team_hooks" else f"{url}/shop", "s"))
    [found] = [one for one in forge.check("main", f"{url}/shop") if one.what == "webhook"]
    assert f"a webhook of {whose}" in found.found or "delivered nothing yet" in found.found
    getattr(server, place)[0].active = False
    [found] = [one for one in forge.check("main", f"{url}/shop") if one.what == "webhook"]
    assert found.result == "warn" and "switched" in found.found and " off" in found.found
