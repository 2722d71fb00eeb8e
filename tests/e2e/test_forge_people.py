"""What people do on a forge to the box's merge request, from a change that waits to be shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import Conflict
from appliance.ledger.lease import Worker
from appliance.work import Attempt, Autonomy, Change, EffectiveAutonomy, Outcome, Plan, Signal, State, WorkItem
from tests.contracts.forges.gitea import Gitea
from tests.contracts.forges.gitlab import Gitlab
from tests.contracts.forges.server import Server, serving
from tests.contracts.test_forge_races import Before
from tests.e2e.faults import CLAMP
from tests.e2e.forge_world import Site
from tests.e2e.world import remote

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

DIFF = """--- a/clamp.py
+++ b/clamp.py
@@ -6,2 +6,2 @@
-    if value < high:
+    if value > high:
         return high
"""
OTHERS = tuple(f"test_clamp.py::test_{name}" for name in ("below", "above", "edges"))


SERVERS: tuple[type[Server], ...] = (Gitea, Gitlab)
ON_BOTH = pytest.mark.parametrize("server", SERVERS, indirect=True, ids=[server.kind for server in SERVERS])
"""For what goes another way where approvals have no words and no commit, and statuses are jobs of a pipeline."""


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with serving(getattr(request, "param", Gitea)(remote(tmp_path, "shop", CLAMP.files))) as running:
        running.protect(approvals=1)
        yield running


def secured(site: Site, autonomy: Autonomy = Autonomy.MEDIUM) -> int:
    """Put W-1, with a change that went through its gates, before ship; the number of its request once it waits."""
    signal = site.ledger.receive(Signal(id="", repo="shop", title=CLAMP.title))
    item = WorkItem(id="", repo="shop", title=CLAMP.title, body=CLAMP.body, signals=(signal.id,))
    site.ledger.open_item(signal.id, Outcome(item=item, reason="opened"))
    claim = site.ledger.claims.take(Worker.here(), 60, 3, [State.RECEIVED])
    assert claim is not None
    base = site.server.head("main")
    plan = Plan(acceptance=(CLAMP.test,), base=base, baseline=dict.fromkeys(OTHERS, "passed"))
    change = Change(
        branch="factory/W-1", base=base, diff=DIFF, files=("clamp.py",), insertions=1, deletions=1, message="Fix: it",
        author_model="search:compare",
    )  # fmt: skip
    attempts = (Attempt(n=1, strategy="search", outcome="plausible"),)
    level = EffectiveAutonomy(effective=autonomy, why="set by a test")
    ready = claim.item.with_(
        state=State.SECURED, stage="ship", plan=plan, change=change, autonomy=level, attempts=attempts
    )
    site.ledger.claims.record(claim, "secure", Outcome(item=ready, reason="secured"), 0.0)
    site.until(site.item("needs_human", "ship"))
    site.turn()
    (number,) = site.server.changes
    return number


@ON_BOTH
def test_an_approval_holds_while_the_target_moves_and_the_approved_head_lands_unchanged(
    site: Site, server: Server
) -> None:
    number = secured(site)
    head = server.head("factory/W-1")
    server.commit("owner", "main", "meanwhile", {"NEWS": "1\n"})
    server.review("ann", number, "approved")
    ended = site.until(site.item("closed"))
    assert "re-testing" in "".join(str(event.payload) for event in site.ledger.history("W-1"))
    assert server.changes[number].head == head and len(server.changes) == 1
    assert {"NEWS", "clamp.py"} <= set(server.git("ls-tree", "--name-only", "main").split())
    assert "value > high" in server.git("show", "main:clamp.py") and ended.approvals == {"ship": f"ann@{server.kind}"}


def test_a_change_that_fails_on_the_moved_target_does_not_land_whoever_approved_it(site: Site, server: Server) -> None:
    number = secured(site)
    moved = server.commit("owner", "main", "it needs more", {"test_clamp.py": "def test_inside():\n    assert 0\n"})
    server.review("ann", number, "approved")
    site.until(lambda: "planned again from" in str([event.payload for event in site.ledger.history("W-1")]))
    assert server.head("main") == moved and server.changes[number].open
    assert site.ledger.item("W-1").approvals == {}


@ON_BOTH
def test_at_the_highest_autonomy_a_protected_branch_still_waits_for_its_people(site: Site, server: Server) -> None:
    number = secured(site, Autonomy.HIGH)
    assert "1 more approval" in site.ledger.item("W-1").waiting_for
    server.review("guest", number, "approved")
    for _ in range(3):
        site.turn()
    assert site.ledger.item("W-1").state is State.NEEDS_HUMAN
    server.review("ann", number, "approved")
    site.until(site.item("closed"))
    assert server.changes[number].merged


def test_somebody_s_push_to_the_box_s_branch_stops_it_and_stays(site: Site, server: Server) -> None:
    number = secured(site)
    theirs = server.commit("ann", "factory/W-1", "better so", {"clamp.py": "x = 1\n"})
    server.review("owner", number, "approved")
    site.until(lambda: "somebody pushed" in site.ledger.item("W-1").waiting_for)
    site.ledger.command("W-1", "approve", "operator")
    for _ in range(4):
        site.turn()
    assert site.ledger.item("W-1").state is State.NEEDS_HUMAN
    assert server.head("factory/W-1") == theirs and server.changes[number].open
    server.merge(number, by="ann")
    shipped = site.until(lambda: site.ledger.item("W-1").release and site.ledger.item("W-1"))
    assert shipped.release and shipped.release.commit == server.head("main")


@ON_BOTH
def test_asked_changes_refuse_the_change_and_the_next_goes_into_the_same_request(site: Site, server: Server) -> None:
    with site.hooked():
        number = secured(site)
        server.review("ann", number, "changes", "clamp(10, 0, 10) must stay 10")
        site.until(lambda: site.ledger.item("W-1").answers)
    item = site.ledger.item("W-1")
    assert item.answers == ("clamp(10, 0, 10) must stay 10",) and item.body.endswith("must stay 10")
    assert item.refused_diffs and item.approvals == {} and item.state is not State.NEEDS_HUMAN
    assert item.proposal and item.proposal.number == str(number)
    site.line.tell()
    assert "being revised" in site.said(number, "change")[0]


def test_a_request_closed_there_is_rejected_by_who_closed_it(site: Site, server: Server) -> None:
    with site.hooked():
        number = secured(site)
        server.edit("ann", "change", number, open=False)
        site.until(site.item("rejected"))
    assert f"person:ann@{server.kind}" in [event.payload.get("by") for event in site.ledger.history("W-1")]


def test_an_issue_that_is_closed_while_webhooks_are_blocked_stops_its_item(site: Site, server: Server) -> None:
    with site.polled():
        site.until(lambda: site.ledger.forges.cursor("shop"))
        issue = server.open_issue("ann", "clamp is wrong", labels=("factory",))
        site.until(site.item("needs_human"))
        server.close_issue("ann", issue)
        site.until(site.item("cancelled"))
    assert f"@{server.kind}" in str([event.payload.get("by") for event in site.ledger.history("W-1")][-1])


@ON_BOTH
def test_a_failing_pipeline_of_the_site_holds_an_approved_change_until_it_passes(site: Site, server: Server) -> None:
    with site.hooked():
        number = secured(site)
        server.status("ann", server.head("factory/W-1"), "site/ci", server.states[2])
        site.until(lambda: "site/ci failed" in site.ledger.item("W-1").waiting_for)
        server.review("ann", number, "approved")
        for _ in range(4):
            site.turn()
        assert server.changes[number].open
        server.status("ann", server.head("factory/W-1"), "site/ci", server.states[1])
        site.until(site.item("closed"))


def test_a_stopped_item_s_request_is_closed_and_a_retry_gets_a_branch_of_its_own(site: Site, server: Server) -> None:
    with site.hooked():
        number = secured(site)
        server.comment("ann", number, "/factory stop", "change")
        site.until(site.item("cancelled"))
        site.until(lambda: not server.changes[number].open)
    assert not server.head("factory/W-1")
    assert any("stopped" in text for text in site.said(number, "change"))
    site.ledger.command("W-1", "retry", "operator")
    site.until(lambda: site.ledger.item("W-1").round == 2)
    assert site.ledger.item("W-1").proposal is None


def test_what_fails_after_landing_is_taken_back_by_a_request_of_its_own(site: Site, server: Server) -> None:
    number = secured(site)
    server.review("ann", number, "approved")
    site.until(site.item("shipped", "monitor"))
    broken = CLAMP.files["test_clamp.py"].replace("clamp(5, 0, 10) == 5", "clamp(5, 0, 10) == 6")
    server.commit("owner", "main", "another rule", {"test_clamp.py": broken})
    waits = site.until(site.item("needs_human", "monitor"))
    assert "its revert" in waits.waiting_for and len(server.changes) == 2
    undo = max(server.changes)
    assert server.changes[undo].branch == "factory/W-1-revert" and server.changes[undo].title.startswith("Revert")
    server.review("owner", undo, "approved")
    site.until(site.item("rolled_back"))
    assert server.changes[undo].merged and "value < high" in server.git("show", "main:clamp.py")


def test_the_box_cannot_be_told_to_look_at_what_does_not_wait(site: Site) -> None:
    secured(site)
    site.ledger.command("W-1", "cancel", "operator")
    site.until(site.item("cancelled"))
    with pytest.raises(Conflict):
        site.ledger.command("W-1", "look", "gitea")


@pytest.mark.parametrize("breaks", [False, True])
def test_what_others_push_between_the_last_look_and_the_merge_is_told_and_tested_with_all_tests(
    site: Site, server: Server, breaks: bool
) -> None:
    number = secured(site)
    own = {"test_clamp.py": CLAMP.files["test_clamp.py"].replace("clamp(-5, 0, 10) == 0", "clamp(-5, 0, 10) == 1")}
    theirs = own if breaks else {"NEWS": "1\n"}
    assert own["test_clamp.py"] != CLAMP.files["test_clamp.py"]
    server.calls = Before("/merge", lambda: server.commit("owner", "main", "in that moment", theirs))
    server.review("ann", number, "approved")
    ended = site.until(site.item(*(("needs_human", "monitor") if breaks else ("closed",))))
    ship, checked = (one for one in ended.verdicts if one.gate == "merge")
    assert ship.verdict == "INCONCLUSIVE" and ship.evidence["files"] == list(theirs)
    assert checked.verdict == ("FAIL" if breaks else "PASS") and checked.evidence["passed_before"] >= 2
    assert "what others changed" in str([event.payload.get("reason") for event in site.ledger.history("W-1")])
    if breaks:
        assert "do not pass now" in ended.waiting_for and server.head("main")


@ON_BOTH
def test_where_the_forge_merges_only_what_stands_on_today_s_head_a_moved_target_has_it_built_again(
    site: Site, server: Server
) -> None:
    number = secured(site)
    server.styles = ["fast-forward"]
    moved = server.commit("owner", "main", "meanwhile", {"NEWS": "1\n"})
    server.review("ann", number, "approved")
    site.until(lambda: "planned again from" in str([event.payload for event in site.ledger.history("W-1")]))
    assert server.head("main") == moved and server.changes[number].open
    assert site.ledger.item("W-1").approvals == {}
