"""Whether a fetch is worth its cost is asked of the server by names alone."""

from __future__ import annotations

import pytest

from appliance.config import Home
from appliance.errors import NotFound, Unavailable
from appliance.mirror import listing
from appliance.mirror.mirror import Mirror
from appliance.settings import MirrorSettings
from tests.e2e.world import git
from tests.mirror.conftest import Server
from tests.mirror.http_server import serving


def test_a_mirror_is_behind_after_a_push_a_tag_and_a_deleted_branch_and_not_otherwise(
    mirror: Mirror, server: Server
) -> None:
    def moved() -> bool:
        was = mirror.behind()
        mirror.sync()
        assert not mirror.behind()
        return was

    assert not moved()
    server.push("shop.py", "PRICE = 2\n")
    assert moved()
    server.push("shop.py", "PRICE = 3\n", branch="other")
    assert moved()
    git(server.tree, "tag", "-a", "v1", "-m", "annotated")
    git(server.tree, "push", "-q", "origin", "v1")
    assert moved()
    git(server.bare, "branch", "-D", "other")
    assert moved()


def test_references_of_the_forge_s_own_do_not_count(mirror: Mirror, server: Server) -> None:
    git(server.bare, "update-ref", "refs/merge-requests/1/head", git(server.bare, "rev-parse", "main"))
    assert not mirror.behind()


def test_a_mirror_that_is_gone_or_broken_is_behind(mirror: Mirror, home: Home, server: Server) -> None:
    (mirror.folder / "HEAD").unlink()
    assert mirror.behind()
    assert Mirror(home, "none", server.bare.as_uri(), "main", MirrorSettings()).behind()


def test_a_server_that_lists_nothing_in_time_is_away_long_before_a_fetch_would_be(
    home: Home, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LISTING_SECONDS", 0.5)
    with serving(server.bare.parent) as http:
        mirror = Mirror(home, "shop", http.url("shop.git"), "", MirrorSettings(timeout_seconds=60))
        mirror.create()
        http.hang.set()
        with pytest.raises(Unavailable, match="longer than"):
            mirror.behind()


def test_a_repository_that_is_no_longer_there_is_named(mirror: Mirror, server: Server) -> None:
    server.bare.rename(server.bare.with_name("gone"))
    with pytest.raises(NotFound):
        mirror.behind()


def test_a_push_is_rehearsed_without_leaving_anything_there(mirror: Mirror, server: Server) -> None:
    before = git(server.bare, "for-each-ref")
    mirror.rehearse_push()
    assert git(server.bare, "for-each-ref") == before
    server.bare.rename(server.bare.with_name("gone"))
    with pytest.raises(NotFound):
        mirror.rehearse_push()
