"""Which failing tests a report is about, and whether a failure is the one that was reported."""

from __future__ import annotations

import pytest

from appliance.line.reproduce import Example, Reproduction, check_reason, match_failures
from appliance.line.reproduce.matching import same_value

SLUG = {"tests/test_text.py::test_slug": "E   AssertionError: assert 'a b' == 'a-b'\nE    +  where 'a b' = slug('A b')"}
CART = {"tests/test_cart.py::test_total": "E   assert 3 == 6\nE    +  where 3 = total()"}
NIGHT = {"tests/test_jobs.py::test_night": "E   ZeroDivisionError: division by zero\nsrc/shop/numbers.py:2: in mean"}


@pytest.mark.parametrize(
    ("report", "wanted"),
    [
        ("`slug` keeps blanks", SLUG),
        ("The slug() of a title is wrong", SLUG),
        ("Blanks stay: I get 'a b', I want 'a-b', in test_slug", SLUG),
        ("Cart.total() ignores the count of a line", CART),
        ("The nightly job dies with a ZeroDivisionError in mean()", NIGHT),
    ],
)
def test_the_failing_tests_a_report_is_about_are_found(report: str, wanted: dict[str, str]) -> None:
    matched, why = match_failures(report, {**SLUG, **CART, **NIGHT}, {})
    assert matched == tuple(wanted) and "fails as reported" in why


def test_two_tests_of_one_fault_are_both_taken() -> None:
    more = {"tests/test_text.py::test_slug_of_two": "E   assert 'c d' == 'c-d'\nE    + where 'c d' = slug('C d')"}
    assert set(match_failures("`slug` keeps blanks", {**SLUG, **more, **CART}, {})[0]) == {*SLUG, *more}


@pytest.mark.parametrize(
    "report",
    ["The colours of the page are ugly", "", "Please add a dark mode", "It fails with an error and returns None"],
)
def test_a_report_about_something_else_matches_nothing_and_says_so(report: str) -> None:
    matched, why = match_failures(report, {**SLUG, **CART}, {})
    assert matched == () and "none is what the report is about" in why


def test_without_failing_tests_nothing_matches() -> None:
    assert match_failures("`slug` keeps blanks", {}, {}) == ((), "no test of the repository fails")


def reproduction(**said: object) -> Reproduction:
    example = Example.model_validate({"test": "test_x", "call": "f(1)", "function": "m.py::f", **said})
    return Reproduction(examples=(example,))


VALUE = reproduction(expected="'a-b'", actual="'a b'")
ERROR = reproduction(expected="0", exception="ZeroDivisionError")
RAISES = reproduction(raises="ValueError")
SILENT = reproduction(expected="6")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (VALUE, "E       AssertionError: assert 'a b' == 'a-b'\nE         - a-b"),
        (VALUE, "E       assert 'a b' == 'a-b'"),
        (VALUE, "E       AssertionError: 'a b' != 'a-b'"),
        (ERROR, "E       ZeroDivisionError: division by zero"),
        (reproduction(exception="EmptyCart"), "E       shop.cart.EmptyCart"),
        (reproduction(exception="ImportError"), "E       ImportError: cannot import name 'x'"),
        (RAISES, "E       Failed: DID NOT RAISE <class 'ValueError'>"),
        (RAISES, "E       AssertionError: ValueError not raised"),
        (RAISES, "E       KeyError: 1"),
        (SILENT, "E       assert 3 == 6"),
        (SILENT, "E       ZeroDivisionError: division by zero"),
        (reproduction(hangs=True), "E       Failed: did not return within 5 seconds"),
        (reproduction(hangs=True), "E       Failed: the test did not end within 20 seconds"),
        (reproduction(expected="3.33", actual="3.67"), "E       assert 3.6666666666666665 == 3.33 ± 1.0e-06"),
        (reproduction(expected="None", actual="'x'"), "E       AssertionError: assert 'x' is None"),
    ],
)
def test_a_failure_that_agrees_with_the_report_is_its_reason(found: Reproduction, message: str) -> None:
    assert check_reason(message, found)[0]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (VALUE, "E       AssertionError: assert 'x y' == 'a-b'"),
        (VALUE, "E       ModuleNotFoundError: No module named 'shop'"),
        (VALUE, "E       fixture 'cart' not found"),
        (VALUE, 'E         File "t.py", line 1\nE       SyntaxError: invalid syntax'),
        (VALUE, "E       TypeError: f() missing 1 required positional argument: 'b'"),
        (VALUE, ">       assert f('a b') == 'a-b'\nE       RuntimeError: no"),
        (reproduction(expected="10", actual="15"), "tests/test_x.py:15: in test\nE       assert 12 == 10"),
        (reproduction(expected="10", actual="15"), "E       assert 12 == 10\nE        +  where 12 = f(15)"),
        (ERROR, "E       assert 1 == 0"),
        (ERROR, "E       KeyError: 'ZeroDivision'"),
        (reproduction(hangs=True), "E       assert 1 == 2"),
        (SILENT, ""),
        (Reproduction(), "E       assert 1 == 2"),
    ],
)
def test_a_failure_of_another_kind_is_refused_with_the_reason(found: Reproduction, message: str) -> None:
    proved, why = check_reason(message, found)
    assert not proved and why


@pytest.mark.parametrize(
    ("seen", "said", "same"),
    [
        ("'a'", '"a"', True), ("a", "'a'", True), ("[1, 2]", "[1,2]", True), ("3.3333333", "3.33", True),
        ("1", "True", False), ("3", "3.0", True), ("4", "3", False), ("'aaaa...zzzz'", "'aaaabbbzzzz'", True),
        ("'aaaa...zzzz'", "'aaaabbb'", False),
        ("{'b': 1, 'a': 2}", "{'a': 2, 'b': 1}", True), ("<Cart object>", "<Cart object>", True),
    ],
)  # fmt: skip
def test_values_are_compared_as_values(seen: str, said: str, same: bool) -> None:
    assert same_value(seen, said) is same
