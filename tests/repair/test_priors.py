"""What past repairs do to the order of candidates, from the ledger's facts to the ranking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.learning.priors import file_of, repair_of
from appliance.repair.edits import Edit, new_contents
from appliance.repair.localise import Fault, Suspicion
from appliance.repair.priors import FILE, MOST, NOTHING, Past, places, read_past
from appliance.repair.rank import fitted, ranked
from appliance.repair.source import Source
from appliance.repair.spectrum import Spectrum
from appliance.repair.templates import edits_of

SOUND = '''
def total(prices, limit, rate):
    """What is to be paid."""
    found = 0
    for price in prices:
        if price > limit:
            found += price - rate
        else:
            found += price
    return found


def place(names, name, first):
    at = first
    for number, other in enumerate(names):
        if other == name and number >= first:
            at = number
            break
    return max(at, first)


def halves(values, size):
    middle = len(values) // 2
    left, right = values[:middle], values[middle:]
    if len(left) < size:
        return right, left
    return left[:size], right[-size:]


def label(kind, count, width):
    text = kind.lower().strip()
    if count != 1 and text:
        text = text + "s"
    return text.ljust(width)
'''

SLIPS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "comparison": (
        ("price > limit", "price >= limit"),
        ("other == name", "other != name"),
        ("number >= first", "number > first"),
        ("len(left) < size", "len(left) <= size"),
        ("count != 1", "count == 1"),
    ),
    "function": (("max(at, first)", "min(at, first)"), ("kind.lower()", "kind.upper()"), ("ljust", "rjust")),
    "swapped operands": (("price - rate", "rate - price"),),
    "boolean operator": (("!= 1 and text", "!= 1 or text"), ("== name and", "== name or")),
    "variable": (("at = number", "at = other"), ("return right, left", "return right, right")),
}


def tried(old: str, new: str, past: Past) -> int:
    """How many candidates are tried until the slip is mended."""
    text = SOUND.replace(old, new)
    broken = Source("shop.py", text)
    function = broken.function_at(text.count("\n", 0, text.index(new)) + 1)
    lines = {("shop.py", line): Suspicion(1.0) for line in range(function.first, function.last + 1)}
    edits = list(edits_of(broken, {line: 1.0 for _, line in lines}))
    order = ranked(edits, Fault(Spectrum(), {"shop.py": broken}, lines), None, fitted(), past)
    blank = "".join(SOUND.split())
    mended = ["".join(new_contents(edit, {"shop.py": text})["shop.py"].split()) == blank for edit in order]
    return mended.index(True) + 1


def mean(kind: str, past: Past) -> float:
    return sum(tried(*slip, past) for slip in SLIPS[kind]) / len(SLIPS[kind])


def outcome(template: str, place: str = "if", repo: str = "shop", path: str = "shop.py", day: int = 1) -> Any:
    facts = {"repo": repo, "strategy": "search", "template": template, "place": place, "paths": [path]}
    return repair_of(datetime(2026, 3, day), {"facts": facts})


def learned(policy: Path, outcomes: list[Any], repo: str = "shop") -> Past:
    """From the ledger's facts over the file to what the ranking gets."""
    content = file_of(outcomes, half_life_days=180.0)
    assert content is not None
    (policy / FILE).write_bytes(content)
    past = read_past(policy, repo, fitted().shares)
    assert past.why == ""
    return past


@pytest.mark.parametrize("kind", ["comparison", "function", "variable"])
def test_after_thirty_repairs_of_one_class_a_third_fewer_candidates_are_tried_for_it(tmp_path: Path, kind: str) -> None:
    past = learned(tmp_path, [outcome(kind, place="") for _ in range(30)])
    others = [name for name in SLIPS if name != kind]
    before, after = (sum(mean(name, one) for name in others) for one in (NOTHING, past))
    assert mean(kind, past) <= 0.7 * mean(kind, NOTHING)
    assert after <= 1.25 * before, "and those of other classes are not tried much later"


def test_what_was_learned_in_another_repository_counts_less_than_in_the_own_one(tmp_path: Path) -> None:
    outcomes = [outcome("comparison", repo="shop")] * 3 + [outcome("variable", repo="other")] * 3
    compared = Edit("shop.py", ((0, 1, "x"),), "comparison", 1)
    shop, other = learned(tmp_path, outcomes), learned(tmp_path, outcomes, repo="other")
    assert shop.term(compared, "", 1) > other.term(compared, "", 1)


def test_a_file_that_was_mended_before_is_looked_at_sooner(tmp_path: Path) -> None:
    past = learned(tmp_path, [outcome("comparison", path="a.py")] * 5)
    one, two = (Edit(path, ((0, 1, "x"),), "constant", 1) for path in ("a.py", "b.py"))
    assert past.term(one, "return", 4) > past.term(two, "return", 4)


def test_the_past_never_outweighs_a_bound(tmp_path: Path) -> None:
    past = learned(tmp_path, [outcome("comparison")] * 5000)
    for template in ("comparison", "constant", "never heard of"):
        assert abs(past.term(Edit("x.py", ((0, 1, "x"),), template, 1), "if", 50)) <= 3 * MOST


def test_what_the_past_does_is_said(tmp_path: Path) -> None:
    past = learned(tmp_path, [outcome("comparison")] * 2 + [outcome("variable", repo="other")])
    assert past.said == "what won before comes sooner: comparison (2), variable (1)"


def test_without_a_file_nothing_of_the_past_counts(tmp_path: Path) -> None:
    past = read_past(tmp_path, "shop", fitted().shares)
    assert past == NOTHING and past.said == ""
    assert past.term(Edit("x.py", ((0, 1, "x"),), "comparison", 1), "if", 3) == 0.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid"),
        ('{"format": 2, "at": "2026-01-01T00:00:00Z"}', "format"),
        ('{"format": 1, "at": "2026-01-01T00:00:00Z", "site": {"templates": {"constant": -1}}}', "site.templates"),
        ('{"format": 1, "at": "2026-01-01T00:00:00Z", "site": {"templates": {"constant": NaN}}}', "not valid"),
        ('{"format": 1, "at": "2026-01-01T00:00:00Z", "more": 1}', "more"),
        ('{"format": 1, "at": "2026-01-01T00:00:00Z"}' + " " * (4 << 20), "larger"),
    ],
)
def test_a_file_that_is_not_valid_in_every_part_is_not_used_and_the_reason_is_said(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / FILE).write_text(content)
    past = read_past(tmp_path, "shop", fitted().shares)
    assert said in past.why and past.why in past.said
    assert past.others == NOTHING.others and past.own == NOTHING.own


def test_the_file_says_when_its_newest_repair_was(tmp_path: Path) -> None:
    learned(tmp_path, [outcome("comparison", day=2), outcome("comparison", day=9)])
    assert json.loads((tmp_path / FILE).read_text())["at"] == datetime(2026, 3, 9, tzinfo=UTC).isoformat()


def test_a_statement_is_named_as_the_syntax_names_it() -> None:
    kind = places(Source("m.py", "x = 1\nif x:\n    x += 1\n"))
    assert [kind(line) for line in (1, 2, 3, 4)] == ["assign", "if", "augassign", ""]
