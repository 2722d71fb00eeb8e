"""What every forge must do for the box, over each adapter and a faithful server of its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config import Home, MirrorSettings
from appliance.errors import Conflict, NotFound, PolicyRefused, Unavailable
from appliance.mirror.forges import adapter
from appliance.mirror.mirror import Mirror
from appliance.mirror.workspace import Clone
from appliance.news import ChangeNews, CommentNews, IssueNews, ReviewNews
from appliance.ports import Draft, Forge, Rights
from appliance.work import Finding, Origin, Result, TrackedRepository
from tests.contracts.forges.gitea import Gitea, serving
from tests.e2e.world import remote

DRAFT = Draft(item="W-1", branch="factory/w-1", target="main", title="Mend the sum", text="Why and how", closes="1")
DIFF = "--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 2\n"
SETTINGS = MirrorSettings(timeout_seconds=30)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Gitea]:
    with serving(remote(tmp_path, "shop", {"shop.py": "PRICE = 1\n"})) as forge:
        yield forge


@pytest.fixture(params=["gitea", "forgejo"])
def tracked(request: pytest.FixtureRequest, home: Home, server: Gitea) -> TrackedRepository:
    (home.secrets / "forge-shop.token").write_text("t0ken\n")
    return TrackedRepository(
        name="shop", url=server.bare.as_uri(), branch="main", forge=request.param, api=server.url, project="team/shop"
    )


@pytest.fixture
def forge(home: Home, tracked: TrackedRepository) -> Forge:
    return adapter(home, tracked, SETTINGS)


@pytest.fixture
def clone(home: Home, server: Gitea) -> Iterator[Clone]:
    mirror = Mirror(home, "shop", server.bare.as_uri(), "", SETTINGS)
    made = mirror.workspace(mirror.create())
    made.apply(DIFF)
    yield made
    made.close()


def committed(clone: Clone, message: str = "Mend the sum") -> str:
    return clone.commit(message, [("Factory-Item", "W-1")])


def test_a_request_proposed_twice_is_one_and_has_the_newest_words(forge: Forge, server: Gitea, clone: Clone) -> None:
    commit = committed(clone)
    first = forge.propose(clone, commit, DRAFT)
    again = forge.propose(clone, commit, DRAFT.with_(title="Mend the sum at last"))
    assert first.number == again.number and len(server.pulls) == 1
    (pull,) = server.pulls.values()
    assert pull["title"] == "Mend the sum at last" and "Closes #1" in pull["body"]
    assert again.state == "open" and again.commit == commit == server.head(DRAFT.branch)


def test_there_is_no_proposal_before_one_was_made(forge: Forge) -> None:
    assert forge.proposal(DRAFT) is None


def test_a_free_branch_takes_the_push_itself(forge: Forge, server: Gitea, clone: Clone) -> None:
    commit = committed(clone)
    assert forge.land(clone, commit, DRAFT) == commit == server.head("main")
    assert server.pulls == {}


def test_a_protected_branch_waits_for_its_reviews_and_then_merges_on_the_forge(
    forge: Forge, server: Gitea, clone: Clone
) -> None:
    server.protect(approvals=1)
    commit, before = committed(clone), server.head("main")
    with pytest.raises(PolicyRefused, match="1 more approval of people is required"):
        forge.land(clone, commit, DRAFT)
    assert server.head("main") == before
    (number,) = server.pulls
    server.review("ann", number, "APPROVED")
    landed = forge.land(clone, commit, DRAFT)
    assert landed == server.head("main") and server.pulls[number]["merged"]
    seen = forge.proposal(DRAFT)
    assert seen and seen.state == "merged" and seen.commit == landed and seen.approved_by == ("ann",)


def test_a_squash_keeps_the_message_and_the_trailer_of_what_was_tested(
    forge: Forge, server: Gitea, clone: Clone
) -> None:
    server.protect(approvals=0)
    server.styles = {"allow_squash_merge": True, "default_merge_style": "merge"}
    landed = forge.land(clone, committed(clone), DRAFT)
    assert server.git("log", "-1", "--format=%s|%(trailers:only)", landed).startswith("Mend the sum|Factory-Item: W-1")


def test_nothing_lands_on_a_target_that_moved_since_the_tests(forge: Forge, server: Gitea, clone: Clone) -> None:
    server.protect(approvals=0)
    commit = committed(clone)
    other = server.git("commit-tree", f"{server.head('main')}^{{tree}}", "-p", server.head("main"), "-m", "other")
    server.git("update-ref", "refs/heads/main", other)
    with pytest.raises(Conflict):
        forge.land(clone, commit, DRAFT)
    assert server.head("main") == other


def test_an_approval_of_an_older_head_does_not_count(forge: Forge, server: Gitea, clone: Clone) -> None:
    number = int(forge.propose(clone, committed(clone), DRAFT).number)
    server.review("ann", number, "APPROVED")
    seen = forge.proposal(DRAFT)
    assert seen and seen.approved_by == ("ann",)
    moved = server.git("commit-tree", f"{seen.commit}^{{tree}}", "-p", seen.commit, "-m", "by a person")
    server.git("update-ref", f"refs/heads/{DRAFT.branch}", moved)
    later = forge.proposal(DRAFT)
    assert later and later.commit == moved and later.approved_by == ()


def test_asked_changes_and_approvals_of_guests(forge: Forge, server: Gitea, clone: Clone) -> None:
    number = int(forge.propose(clone, committed(clone), DRAFT).number)
    server.review("guest", number, "APPROVED")
    server.review("ann", number, "REQUEST_CHANGES")
    seen = forge.proposal(DRAFT)
    assert seen and seen.approved_by == () and seen.changes_asked_by == ("ann",)
    assert "ann asks for changes" in seen.blockers


def test_a_withdrawn_request_is_closed_with_its_reason_and_its_branch_is_gone(
    forge: Forge, server: Gitea, clone: Clone
) -> None:
    forge.propose(clone, committed(clone), DRAFT)
    for _ in range(2):
        forge.withdraw(clone, DRAFT, "a person took it over")
    (pull,) = server.pulls.values()
    assert pull["state"] == "closed" and DRAFT.branch not in server.git("branch", "--list")
    assert [row["body"].endswith("a person took it over") for row in server.comments] == [True]


def test_a_comment_of_one_mark_is_rewritten_and_nobody_else_s_is_touched(forge: Forge, server: Gitea) -> None:
    number = server.open_issue("ann", "The sum is wrong")
    server.comment("ann", number, "<!-- factory:W-1:progress -->\nmine")
    for text in ("planned", "built", "built"):
        forge.say(Origin(number=str(number)), "W-1:progress", text)
    assert [row["body"].splitlines()[-1] for row in server.comments] == ["mine", "built"]


def test_findings_are_shown_once_on_their_lines(forge: Forge, server: Gitea, clone: Clone) -> None:
    proposal = forge.propose(clone, committed(clone), DRAFT)
    finding = Finding(rule="S101", path="shop.py", line=1, message="assert used", tool="ruff")
    for findings in ([finding], [finding, finding.with_(line=2, message="another")]):
        forge.review(proposal, findings)
    shown = [row for review in server.reviews[int(proposal.number)] for row in review["comments"]]
    assert [(row["path"], row["new_position"]) for row in shown] == [("shop.py", 1), ("shop.py", 2)]


def test_each_gate_has_its_status(forge: Forge, server: Gitea, clone: Clone) -> None:
    for verdict in (None, Result.PASS, Result.FAIL, Result.INCONCLUSIVE):
        forge.status(committed(clone) if not server.statuses else server.statuses[0]["sha"], "test", verdict, "", "")
    assert [row["state"] for row in server.statuses] == ["pending", "success", "failure", "error"]
    assert {row["context"] for row in server.statuses} == {"factory/test"}


def test_an_issue_is_closed(forge: Forge, server: Gitea) -> None:
    number = server.open_issue("ann", "The sum is wrong")
    for _ in range(2):
        forge.close(Origin(number=str(number)))
    assert server.issues[number]["state"] == "closed"
    with pytest.raises(NotFound):
        forge.close(Origin(number="999"))


@pytest.mark.parametrize(
    ("login", "rights"),
    [("owner", Rights.ADMIN), ("ann", Rights.WRITE), ("guest", Rights.READ), ("nobody", Rights.NONE)],
)
def test_rights(forge: Forge, login: str, rights: Rights) -> None:
    assert forge.rights(login) is rights


def test_news_tell_of_people_and_never_of_the_box(forge: Forge, server: Gitea, clone: Clone) -> None:
    nothing, cursor = forge.news("")
    assert nothing == ()
    number = server.open_issue("ann", "The sum is wrong", ("factory",))
    server.open_issue("ann", "Another")
    server.open_issue("ann", "A third")  # more than a page holds
    forge.say(Origin(number=str(number)), "W-1:progress", "planned")
    server.comment("ann", number, "/factory stop")
    pull = int(forge.propose(clone, committed(clone), DRAFT).number)
    server.review("ann", pull, "APPROVED")
    server.merge(pull, "merge")
    heard, _ = forge.news(cursor)
    assert {one.title for one in heard if isinstance(one, IssueNews)} == {"The sum is wrong", "Another", "A third"}
    assert [one.text for one in heard if isinstance(one, CommentNews)] == ["/factory stop"]
    assert [(one.by, one.verdict) for one in heard if isinstance(one, ReviewNews)] == [("ann", "approved")]
    assert [(one.state, one.commit) for one in heard if isinstance(one, ChangeNews)] == [
        ("merged", server.head("main"))
    ]


def test_a_forge_that_asks_to_wait_is_unavailable_and_says_how_long(forge: Forge, server: Gitea) -> None:
    server.limited = True
    with pytest.raises(Unavailable) as error:
        forge.rights("ann")
    assert "17 s" in error.value.hint


def test_a_token_that_is_refused_is_told_and_never_shown(forge: Forge, server: Gitea) -> None:
    server.tokens = {"another": "factory"}
    with pytest.raises(PolicyRefused) as error:
        forge.rights("ann")
    assert "t0ken" not in str(error.value.as_dict())


def test_a_server_that_is_away_is_unavailable(home: Home, tracked: TrackedRepository) -> None:
    away = adapter(home, tracked.with_(api="http://127.0.0.1:1"), SETTINGS)
    with pytest.raises(Unavailable):
        away.rights("ann")


def test_a_check_names_what_is_missing_and_the_line_to_add(forge: Forge, server: Gitea) -> None:
    found = {one.what: one for one in forge.check("main", "http://box.example/hooks/gitea/shop")}
    assert [found[what].result for what in ("reach", "rights", "branch", "webhook")] == ["pass", "pass", "pass", "warn"]
    assert "ALLOWED_HOST_LIST" in found["webhook"].fix
    server.people["factory"] = "read"
    found = {one.what: one for one in forge.check("main", "http://box.example/hooks/gitea/shop")}
    assert found["rights"].result == "fail" and "write:repository" in found["rights"].fix
