"""What a model is shown of a repository."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from appliance.droids import material, repo_map
from appliance.droids.task import Task
from appliance.work import Suspect

FILES = {
    "shop/cart.py": "from shop.tax import rate\n\n\nclass Cart:\n    def total(self):\n"
    "        return rate(1) + _round(2)\n\n\ndef _round(x):\n    return x\n",
    "shop/tax.py": "def rate(x: int) -> float:\n    return 2.0\n\n\ndef unused():\n    pass\n",
    "shop/broken.py": "def (",
    "tests/test_cart.py": "class TestCart:\n    def test_total(self):\n        assert 1\n",
    ".venv/x.py": "def hidden(): pass\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def names(ranked: list[repo_map.Definition]) -> list[str]:
    return [one.name for one in ranked]


def task(tree: Path, *suspects: Suspect) -> Task:
    return Task(tree, "total is wrong", "", ("tests/test_cart.py::TestCart::test_total[a-b]",), suspects, {}, (), "m")


def test_only_readable_code_outside_tests_and_hidden_folders_counts(tree: Path) -> None:
    assert [source.path for source in repo_map.sources(tree)] == ["shop/cart.py", "shop/tax.py"]


def test_what_is_used_ranks_before_what_is_not(tree: Path) -> None:
    ranked = names(repo_map.rank(repo_map.sources(tree), (), {}))
    assert ranked[0] == "rate" and ranked.index("rate") < ranked.index("unused")


def test_a_mentioned_name_rises_and_a_private_one_sinks(tree: Path) -> None:
    found = repo_map.sources(tree)
    plain = {one.name: one.score for one in repo_map.rank(found, (), {})}
    told = {one.name: one.score for one in repo_map.rank(found, {"unused"}, {})}
    assert told["unused"] > 3 * plain["unused"] and plain["_round"] < plain["rate"]


def test_suspected_files_draw_the_walk(tree: Path) -> None:
    found = repo_map.sources(tree)
    scores = repo_map.rank(found, (), {"shop/cart.py": 1.0})
    assert names(scores)[0] == "rate", "what a suspected file uses matters most"


def test_shares_of_the_walk_sum_to_one_whatever_the_graph() -> None:
    edges = {"a": {"b": 1.0}, "b": {}, "c": {"c": 2.0, "a": 0.5}}
    for preferred in ({}, {"c": 1.0}, {"zzz": 4.0}):
        assert math.isclose(sum(repo_map.page_rank(edges, preferred).values()), 1.0)


def test_the_map_is_as_long_as_allowed_and_ordered_by_line(tree: Path) -> None:
    ranked = repo_map.rank(repo_map.sources(tree), (), {})
    whole = repo_map.render(ranked, 10_000)
    assert "shop/tax.py:\n  1: def rate(x: int) -> float\n  5: def unused()" in whole
    assert "shop/cart.py:\n  4: class Cart\n    5: def total(self)" in whole
    assert len(repo_map.render(ranked, 40)) <= 40 and repo_map.render([], 100) == ""


def test_the_tests_are_shown_first_then_suspects_whole_or_in_part(tree: Path) -> None:
    (tree / "shop/long.py").write_text("X = 1\n" * 200 + "\n\ndef far():\n    return 1\n" + "Y = 2\n" * 200)
    given = task(
        tree, Suspect(path="shop/long.py", line=204, score=1.0), Suspect(path="shop/tax.py", line=1, score=0.5)
    )
    found = list(material.pieces(given, [], 150))
    assert [piece.where for piece in found] == [
        "tests/test_cart.py::TestCart::test_total", "shop/long.py::far", "shop/tax.py",
    ]  # fmt: skip
    assert found[0].test and found[1].text == "def far():\n    return 1\n"
    outside = task(tree, Suspect(path="shop/long.py", line=50, score=1.0))
    assert list(material.pieces(outside, [], 150))[1].where == "shop/long.py lines 21 to 80"


def test_suspects_that_are_no_files_are_left_out(tree: Path) -> None:
    given = task(tree, Suspect(path="gone.py", line=1, score=1.0), Suspect(path="../../etc/passwd", line=1, score=1.0))
    assert [piece.test for piece in material.pieces(given, [], 150)] == [True]
