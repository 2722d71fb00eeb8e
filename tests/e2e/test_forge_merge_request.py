"""From an issue on a forge to its close there, with people doing on the forge what people do, and nothing by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.conftest import SERVERS
from tests.contracts.forges.server import Server, serving
from tests.e2e.faults import CLAMP
from tests.e2e.forge_world import Site
from tests.e2e.world import remote

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture(params=SERVERS, ids=[server.kind for server in SERVERS])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with serving(request.param(remote(tmp_path, "shop", CLAMP.files))) as running:
        running.protect(approvals=1)
        yield running


def check_the_request(site: Site, server: Server, issue: int) -> int:
    """A request with the whole story, a status for each gate, progress under the issue; its number."""
    (number,) = server.changes
    change = server.changes[number]
    assert change.title == f"Fix: {CLAMP.title}" and CLAMP.test in change.body
    assert "https://factory.example/items/W-1" in change.body and f"Closes #{issue}" in change.body
    gates = {one.gate: one.state for one in server.statuses if one.commit == server.head("factory/W-1")}
    assert set(gates) == {"factory/test", "factory/review-policy", "factory/secure"}
    assert set(gates.values()) == {server.states[1]}
    (progress,) = site.said(issue)
    assert "https://factory.example/items/W-1" in progress and "1 more approval" in progress
    return number


def check_the_end(site: Site, server: Server, issue: int, number: int) -> None:
    assert server.changes[number].merged == server.head("main")
    assert not server.issues[issue].open
    site.until(lambda: "done" in site.said(issue)[0])
    assert "Landed as" in site.said(number, "change")[0]
    assert {one.state for one in server.statuses if one.gate == "factory/monitor"} >= {server.states[1]}
    assert not server.head("factory/W-1") and len(server.changes) == 1
    assert len(site.said(issue)) == 1, "one comment tells all"


def test_an_issue_becomes_an_approved_request_that_lands_and_closes_it(site: Site, server: Server) -> None:
    with site.hooked():
        issue = server.open_issue("ann", CLAMP.title, ("factory",), CLAMP.body)
        site.until(site.item("needs_human", "ship"))
        site.turn()
        number = check_the_request(site, server, issue)
        server.review("ann", number, "approved", "fine")
        ended = site.until(site.item("closed"), watch=False)
        assert ended.approvals == {"ship": f"ann@{server.kind}"}
        check_the_end(site, server, issue, number)


def test_without_webhooks_and_with_both_sides_restarting_it_comes_to_the_same(site: Site, server: Server) -> None:
    server.blocked = True
    with site.polled():
        site.until(lambda: bool(site.ledger.forges.cursor("shop")) or time.sleep(0.05))
        issue = server.open_issue("ann", CLAMP.title, ("factory",), CLAMP.body)
        site.until(site.item("built"), turns=2000)
    server.stop()
    site.restart()
    site.turn()
    server.start()
    with site.polled():
        site.until(site.item("needs_human", "ship"), turns=2000)
        site.until(lambda: (site.said(issue) and "1 more approval" in site.said(issue)[0]) or time.sleep(0.2))
        number = check_the_request(site, server, issue)
        server.stop()
        site.turn()
        server.start()
        server.review("ann", number, "approved")
        site.until(lambda: site.item("closed")() or time.sleep(0.05), turns=2000)
        site.until(lambda: "done" in site.said(issue)[0] or time.sleep(0.2))
        check_the_end(site, server, issue, number)
