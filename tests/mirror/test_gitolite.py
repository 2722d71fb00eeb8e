"""Gitolite over a real sshd, from a network of its own: the box's key and its rights, and what is told without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import FactoryError, PolicyRefused, Unavailable
from appliance.mirror import keys
from appliance.mirror.mirror import Mirror
from tests.e2e.world import git
from tests.mirror.conftest import Server
from tests.mirror.gitolite_server import Gitolite, gitolite_serving
from tests.mirror.own_network import OwnNetwork, own_network
from tests.mirror.product import added, appliance

DIFF = "diff --git a/shop.py b/shop.py\n--- a/shop.py\n+++ b/shop.py\n@@ -1 +1 @@\n-PRICE = 1\n+PRICE = 5\n"


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[OwnNetwork | None]:
    with own_network() as its:
        yield its


@pytest.fixture(scope="module")
def running(network: OwnNetwork | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gitolite]:
    with gitolite_serving(tmp_path_factory.mktemp("gitolite")) as made:
        yield made


@pytest.fixture
def gitolite(running: Gitolite, server: Server) -> Gitolite:
    """The project `shop` on gitolite."""
    git(running.bare, "fetch", "-q", str(server.bare), "+main:main")
    return running


@pytest.fixture
def key(box: Path, gitolite: Gitolite) -> str:
    """What the box asks to be added, once it trusts the server."""
    port, fingerprint = str(gitolite.sshd.port), gitolite.sshd.fingerprint
    assert appliance(box, "repo", "trust", "127.0.0.1", "--port", port, "--fingerprint", fingerprint).exit_code == 0
    return keys.ensure(box / "secrets", "shop")


def add(box: Path, gitolite: Gitolite) -> Mirror:
    done = appliance(box, "repo", "add", "shop", "--url", gitolite.url("shop"))
    if done.exception is not None:
        raise done.exception
    return added(box, "shop")


def told(error: FactoryError) -> str:
    return f"{error.message} / {error.hint}"


def test_a_merge_goes_back_to_gitolite_with_the_box_s_key_and_nothing_else_is_asked(
    box: Path, gitolite: Gitolite, key: str, server: Server, network: OwnNetwork | None, tmp_path: Path
) -> None:
    gitolite.let_in({"box": key}, "repo shop\n    RW+ = admin\n    RW = box\n")
    mirror = add(box, gitolite)
    assert "the server would take a branch of the box" in appliance(box, "repo", "check", "shop").output
    clone = mirror.workspace(mirror.head())
    clone.apply(DIFF)
    clone.commit("Fix: the price", ())
    moved = server.push("README.md", "# Shop\n")
    git(gitolite.bare, "fetch", "-q", str(server.bare), "main:main")
    assert mirror.sync() == moved
    merged = clone.merge_onto(moved, "Merge the fix", ())
    clone.push(merged, "main")
    assert mirror.sync() == merged == git(gitolite.bare, "rev-parse", "main")
    tree = mirror.checkout(merged, tmp_path / "out")
    assert (tree / "shop.py").read_text() == "PRICE = 5\n" and (tree / "README.md").read_text() == "# Shop\n"
    if network is None:
        pytest.skip("all of it works; only root may look whether anything left a network of its own")
    assert network.left() == 0


def test_a_key_that_may_only_read_mirrors_and_its_push_is_refused_in_words(
    box: Path, gitolite: Gitolite, key: str
) -> None:
    gitolite.let_in({"box": key}, "repo shop\n    R = box\n")
    mirror = add(box, gitolite)
    assert "does not let the box's key write" in appliance(box, "repo", "check", "shop").output
    clone = mirror.workspace(mirror.head())
    clone.apply(DIFF)
    with pytest.raises(PolicyRefused) as caught:
        clone.push(clone.commit("Fix", ()), "main")
    assert "does not let the box's key write" in told(caught.value) and "gitolite: RW" in told(caught.value)


def test_a_branch_kept_from_the_box_is_refused_in_words_and_another_is_taken(
    box: Path, gitolite: Gitolite, key: str
) -> None:
    gitolite.let_in({"box": key}, "repo shop\n    R = box\n    RW+C factory/ = box\n")
    mirror = add(box, gitolite)
    clone = mirror.workspace(mirror.head())
    clone.apply(DIFF)
    commit = clone.commit("Fix", ())
    with pytest.raises(PolicyRefused, match="does not let the box's key write"):
        clone.push(commit, "main")
    clone.publish(commit, "factory/w-1", "")
    assert git(gitolite.bare, "rev-parse", "factory/w-1") == commit
    clone.delete("factory/w-1", commit)


@pytest.mark.parametrize("rules", ["repo shop\n    RW+ = admin\n", "repo other\n    RW = box\n"])
def test_what_the_box_may_not_read_and_what_is_not_there_are_told_alike(
    box: Path, gitolite: Gitolite, key: str, rules: str
) -> None:
    gitolite.let_in({"box": key}, rules)
    with pytest.raises(Unavailable) as caught:
        add(box, gitolite)
    assert "does not let the box read there" in told(caught.value) and "check the name" in told(caught.value)


def test_a_key_that_gitolite_does_not_know_is_told(box: Path, gitolite: Gitolite, key: str) -> None:
    gitolite.let_in({})
    with pytest.raises(Unavailable, match="does not let the box in") as caught:
        add(box, gitolite)
    assert "repo key" in caught.value.hint
