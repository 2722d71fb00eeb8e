"""What GitHub has that other forges have not: lines outside of a diff, rulesets, required checks, merge queues."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Home
from appliance.errors import Conflict, PolicyRefused, Unavailable
from appliance.mirror.forges import adapter, github_said
from appliance.mirror.forges.github import GithubForge
from appliance.mirror.forges.github_rules import rules_of
from appliance.mirror.workspace import Clone
from appliance.ports import Forge
from appliance.work import Finding, Result, TrackedRepository
from tests.contracts.conftest import LONG, SETTINGS
from tests.contracts.forges.github import Github
from tests.contracts.forges.server import serving
from tests.contracts.test_forges import DRAFT, committed
from tests.e2e.world import remote

REVIEWED = {"type": "pull_request", "parameters": {"required_approving_review_count": 2}}
HOOK = "http://box.example/hooks/github/shop"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Github]:
    with serving(Github(remote(tmp_path, "shop", LONG))) as running:
        yield running


def test_a_finding_outside_of_the_diff_goes_to_its_file_and_one_of_another_file_into_a_comment(
    forge: Forge, server: Github, clone: Clone
) -> None:
    proposal = forge.propose(clone, committed(clone), DRAFT)
    inside = Finding(rule="S101", path="shop.py", line=1, message="assert used", tool="ruff")
    findings = [inside, inside.with_(line=30), inside.with_(path="till.py", message="elsewhere")]
    for _ in range(2):
        forge.review(proposal, [*findings, inside.with_(line=29, message="far")])
    shown = [(line.path, line.line) for review in server.reviews for line in review.lines]
    assert shown == [("shop.py", 1), ("shop.py", 0), ("shop.py", 0)]
    (comment,) = server.comments
    assert "`till.py` line 1" in comment.text and "elsewhere" in comment.text


def test_a_ruleset_guards_a_branch_as_its_protection_does(forge: Forge, server: Github, clone: Clone) -> None:
    server.rules, server.required = [REVIEWED], 2
    with pytest.raises(PolicyRefused, match="2 more approvals of people is required"):
        forge.land(clone, committed(clone), DRAFT)
    found = {one.what: one for one in forge.check("main", HOOK)}
    assert "reviews required: 2" in found["branch"].found


def test_rules_that_no_push_of_the_box_breaks_leave_the_branch_free(forge: Forge, server: Github, clone: Clone) -> None:
    server.rules = [{"type": "deletion"}, {"type": "non_fast_forward"}, {"type": "required_linear_history"}]
    commit = committed(clone)
    assert forge.land(clone, commit, DRAFT) == commit == server.head("main")


def test_a_required_check_that_has_not_passed_is_named(forge: Forge, server: Github, clone: Clone) -> None:
    server.protect()
    server.checks = ["factory/test"]
    commit = committed(clone)
    with pytest.raises(PolicyRefused, match="the required check factory/test has not passed"):
        forge.land(clone, commit, DRAFT)
    forge.status(commit, "test", Result.PASS, "all pass", "")
    assert forge.land(clone, commit, DRAFT) == server.head("main")


def test_a_merge_queue_is_told_and_left_to_people(forge: Forge, server: Github, clone: Clone) -> None:
    server.rules = [{"type": "merge_queue", "parameters": {}}]
    found = {one.what: one for one in forge.check("main", HOOK)}
    assert found["branch"].result == "warn" and "queue" in found["branch"].found
    with pytest.raises(PolicyRefused, match="merge queue"):
        forge.land(clone, committed(clone), DRAFT)


def test_a_base_that_moves_during_the_merge_is_a_conflict(forge: Forge, server: Github, clone: Clone) -> None:
    server.protect()
    server.base_moves = True
    with pytest.raises(Conflict):
        forge.land(clone, committed(clone), DRAFT)


def test_a_request_that_must_stand_on_its_target_waits_for_nobody_and_does_not_land_behind_it(
    forge: Forge, server: Github, clone: Clone
) -> None:
    server.protect()
    server.strict = True
    commit = committed(clone)
    forge.propose(clone, commit, DRAFT)
    moved = server.commit("ann", "main", "other", {"other.py": "X = 1\n"})
    with pytest.raises(Unavailable):  # it is worked out after the first look
        forge.land(clone, commit, DRAFT.with_(onto=moved))
    with pytest.raises(Conflict):
        forge.land(clone, commit, DRAFT.with_(onto=moved))
    seen = forge.proposal(DRAFT)
    assert seen and seen.blockers == () and server.head("main") == moved


def test_a_story_that_is_too_long_still_closes_its_issue(forge: Forge, server: Github, clone: Clone) -> None:
    number = int(forge.propose(clone, committed(clone), DRAFT.with_(text="long " * 20_000)).number)
    body = server.changes[number].body
    assert len(body) <= 65_536 and body.endswith("Closes #1")


def test_a_finer_limit_without_a_header_asks_to_wait_too(forge: Forge, server: Github) -> None:
    server.spoiled = (403, b'{"message": "You have exceeded a secondary rate limit."}', {})
    with pytest.raises(Unavailable):
        forge.rights("ann")


def test_an_administrator_s_check_tells_how_the_last_delivery_went(
    home: Home, tracked: TrackedRepository, server: Github
) -> None:
    (home.secrets / "forge-shop.token").write_text("0wner")
    forge = adapter(home, tracked, SETTINGS)

    def webhook() -> tuple[str, str]:
        (found,) = [one for one in forge.check("main", HOOK) if one.what == "webhook"]
        return found.result, found.found

    assert webhook() == ("warn", "none to this box is seen: it polls")
    server.blocked = True
    hook = server.hook(HOOK, "s3cret")
    server.deliveries.clear()
    assert webhook()[0] == "warn" and "delivered nothing yet" in webhook()[1]
    server.open_issue("ann", "The sum is wrong")
    server.deliveries[-1].code = 502
    assert webhook() == ("warn", "the last delivery failed (502): failed")
    server.deliveries[-1].code = 202
    assert webhook() == ("pass", f"{HOOK}, a webhook of the project")
    hook.active = False
    assert webhook() == ("warn", "the webhook is switched off")


def test_the_api_is_below_the_server_unless_the_address_is_an_api_s() -> None:
    assert GithubForge.base_of("https://git.example") == "https://git.example/api/v3"
    for whole in ("https://git.example/api/v3", "https://api.git.example"):
        assert GithubForge.base_of(whole) == whole


def review(by: str, state: str, commit: str = "new") -> dict[str, Any]:
    return {"user": {"login": by}, "state": state, "commit_id": commit}


def test_the_last_word_of_a_reviewer_counts_and_a_comment_takes_nothing_back() -> None:
    said = [
        review("ann", "APPROVED"), review("ann", "COMMENTED"), review("bob", "CHANGES_REQUESTED", "old"),
        review("eve", "APPROVED"), review("eve", "DISMISSED"), review("dan", "APPROVED", "old"),
        review("joe", "CHANGES_REQUESTED"), review("joe", "APPROVED"), {**review("", "APPROVED"), "user": None},
    ]  # fmt: skip
    assert github_said.last_words(said, "new") == {"ann": "APPROVED", "bob": "CHANGES_REQUESTED", "joe": "APPROVED"}


def test_a_fork_s_branch_of_the_same_name_is_not_the_box_s() -> None:
    ours, theirs = {"full_name": "team/shop"}, {"full_name": "eve/shop"}
    assert not github_said.from_fork({"head": {"repo": ours}, "base": {"repo": ours}})
    for repo in (theirs, None):
        assert github_said.from_fork({"head": {"repo": repo}, "base": {"repo": ours}})


def test_rules_come_from_protection_and_rulesets_together() -> None:
    branch = {"protected": True, "protection": {"required_status_checks": {"contexts": ["ci"]}}}
    protection = {"required_pull_request_reviews": {"required_approving_review_count": 1}}
    ruled = {
        "required_approving_review_count": 2,
        "require_code_owner_review": True,
        "allowed_merge_methods": ["squash"],
    }
    checks = {"required_status_checks": [{"context": "lint"}, {"context": "ci"}]}
    rulesets = [{"type": "pull_request", "parameters": ruled}, {"type": "required_status_checks", "parameters": checks}]
    rules = rules_of(branch, protection, rulesets)
    assert (rules.approvals, rules.owners, rules.checks, rules.free) == (2, True, ("ci", "lint"), False)
    assert rules.method({}) == "squash"
    with pytest.raises(PolicyRefused):
        rules.method({"allow_squash_merge": False})
    assert rules_of(branch, None, []).approvals is None
