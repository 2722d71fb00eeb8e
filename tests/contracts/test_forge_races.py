"""What people do at the very moment when the box looks or merges, and how little the box asks to find its request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.errors import Conflict
from appliance.mirror.workspace import Clone
from appliance.ports import Draft, Forge
from tests.contracts.forges.gitea import Forgejo, Gitea
from tests.contracts.forges.server import Server

DRAFT = Draft(item="W-1", branch="factory/w-1", target="main", title="Mend the sum", text="Why and how")


class Before(list[str]):
    """The server's list of calls, which lets something happen once, just before the first call that ends so."""

    def __init__(self, end: str, deed: Callable[[], object]) -> None:
        super().__init__()
        self.end, self.deed, self.done = end, deed, False

    def append(self, call: str) -> None:
        super().append(call)
        if call.endswith(self.end) and not self.done:
            self.done = True
            self.deed()


def committed(clone: Clone) -> str:
    return clone.commit("Mend the sum", [("Factory-Item", "W-1")])


def test_a_push_to_the_request_between_the_last_look_and_the_merge_is_never_merged(
    forge: Forge, server: Server, clone: Clone
) -> None:
    server.protect(approvals=0)
    commit, before = committed(clone), server.head("main")
    forge.propose(clone, commit, DRAFT)
    moment = Before("/merge", lambda: server.commit("ann", DRAFT.branch, "hers", {"hers.py": "X = 1\n"}))
    server.calls = moment
    with pytest.raises(Conflict):
        forge.land(clone, commit, DRAFT)
    assert moment.done and server.head("main") == before


def test_the_box_s_request_is_found_without_reading_everybody_s(forge: Forge, server: Server, clone: Clone) -> None:
    forge.propose(clone, committed(clone), DRAFT)
    forge.proposal(DRAFT)
    counts = []
    for place in range(4):  # a page of the test servers holds two
        server.calls.clear()
        assert forge.proposal(DRAFT)
        counts.append(len(server.calls))
        server.commit("ann", f"hers-{place}", "hers", {"hers.py": f"X = {place}\n"})
        server.open_change("ann", f"hers-{place}", "main", "hers")
    assert counts == counts[:1] * 4


def test_of_several_requests_of_one_branch_the_open_one_counts_and_else_the_newest(
    forge: Forge, server: Server, clone: Clone
) -> None:
    commit = committed(clone)
    numbers = []
    for _ in range(3):
        numbers.append(forge.propose(clone, commit, DRAFT).number)
        server.edit("ann", "change", int(numbers[-1]), open=False)
    seen = forge.proposal(DRAFT)
    assert seen and (seen.number, seen.state) == (numbers[-1], "closed")
    server.edit("ann", "change", int(numbers[0]), open=True)
    seen = forge.proposal(DRAFT)
    assert seen and (seen.number, seen.state) == (numbers[0], "open")


def test_a_request_for_a_branch_with_a_slash_in_its_name_is_found(forge: Forge, server: Server, clone: Clone) -> None:
    server.commit("ann", "release/1.0", "branch off")
    draft = DRAFT.with_(target="release/1.0")
    number = forge.propose(clone, committed(clone), draft).number
    seen = forge.proposal(draft)
    assert seen and seen.number == number


@pytest.mark.parametrize("server", [Gitea, Forgejo], indirect=True)
@pytest.mark.parametrize("version", ["1.21.11", "1.21.11-1+gitea-1.21.11", "development"])
def test_a_gitea_that_cannot_find_requests_by_their_branches_is_asked_for_its_list(
    forge: Forge, server: Gitea, clone: Clone, version: str
) -> None:
    server.version = version
    number = forge.propose(clone, committed(clone), DRAFT).number
    seen = forge.proposal(DRAFT)
    assert seen and seen.number == number
    assert forge.propose(clone, seen.commit, DRAFT).number == number
