"""What Gitea and Forgejo have that other forges have not: code owners are asked for their review, and the branch's rule
says whether a merge waits for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import PolicyRefused
from appliance.mirror.workspace import Clone
from appliance.news import ReviewNews
from appliance.ports import Forge
from tests.contracts.forges.gitea import Forgejo, Gitea
from tests.contracts.forges.server import serving
from tests.contracts.test_forges import DRAFT, committed
from tests.e2e.world import remote


@pytest.fixture(params=[Gitea, Forgejo], ids=["gitea", "forgejo"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gitea]:
    with serving(request.param(remote(tmp_path, "shop", {"shop.py": "PRICE = 1\nTAX = 1\n"}))) as running:
        yield running


def test_a_merge_waits_for_the_code_owners_where_the_branch_does_and_says_for_whom(
    forge: Forge, server: Gitea, clone: Clone
) -> None:
    server.protect(approvals=1)
    server.owners, server.owners_block = ("owner", "@tills"), True
    commit, before = committed(clone), server.head("main")
    number = int(forge.propose(clone, commit, DRAFT).number)
    server.review("ann", number, "approved")
    with pytest.raises(PolicyRefused, match="review of owner is asked for") as error:
        forge.land(clone, commit, DRAFT)
    assert "the review of the team tills" in error.value.message and server.head("main") == before
    server.owners = ("owner",)
    server.review("owner", number, "approved")
    heard, _ = forge.news("2020-01-01T00:00:00Z")
    assert [one.by for one in heard if isinstance(one, ReviewNews)] == ["ann", "owner"]
    assert forge.land(clone, commit, DRAFT) == server.head("main") != before


def test_where_the_branch_only_asks_its_code_owners_the_merge_does_not_wait(
    forge: Forge, server: Gitea, clone: Clone
) -> None:
    server.protect()
    server.owners = ("owner",)
    assert forge.land(clone, committed(clone), DRAFT) == server.head("main")
