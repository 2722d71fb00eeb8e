from __future__ import annotations

from pathlib import Path

import pytest

from appliance.line.plan import cannot_start, covered, evidence
from appliance.line.reproduce import Example, Reproduction
from appliance.line.similarity import functions_of, rate
from appliance.work import TestReport


def report(**more: object) -> TestReport:
    return TestReport(**{"complete": True, "exit_code": 0, "outcomes": {"t::a": "passed"}, **more})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (report(outcomes={}, exit_code=5), "has no tests"),
        (
            report(complete=False, exit_code=2, output_tail="ImportError: no module"),
            "cannot start (exit 2): ImportError",
        ),
        (report(outcomes={"t.py": "error"}, exit_code=2, output_tail="boom"), "cannot start"),
        (
            report(
                outcomes={"t.py": "error"},
                messages={"t.py": "Traceback:\nE   ModuleNotFoundError: No module named 'yaml'"},
                exit_code=1,
                output_tail="1 error in 0.02s",
            ),
            "cannot start (exit 1): t.py: ModuleNotFoundError: No module named 'yaml'; if the repository needs",
        ),
        (report(limit="time"), "limit on time; mend what uses it up, raise `computers.seconds`"),
        (report(limit="processes"), "limit on processes; mend what uses it up, raise `computers.processes`"),
        (report(complete=False, exit_code=None, output_tail=""), "no output"),
    ],
)
def test_tests_that_are_no_ground_to_stand_on_are_named_with_the_reason(given: TestReport, words: str) -> None:
    assert words in cannot_start(given)


def test_failing_tests_are_ground_enough() -> None:
    assert cannot_start(report(outcomes={"t::a": "passed", "t::b": "failed"}, exit_code=1)) == ""


def test_the_evidence_of_a_run_has_counts_units_and_the_sandbox() -> None:
    found = evidence(report(outcomes={"a": "passed", "b": "passed", "c": "failed"}, wall_seconds=1.23456, sandbox="A"))
    assert found["tests"] == {"passed": 2, "failed": 1}
    assert (found["seconds"], found["sandbox"]) == (1.235, "A")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(
        'class Cart:\n    def total(self):\n        """Sum of prices."""\n        return 0\n'
        "\n\ndef slug(text):\n    def inner():\n        pass\n    return text\n"
    )
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "latin.py").write_bytes(b"# \xff\n")
    (tmp_path / "test_shop.py").write_text("def test_x():\n    pass\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "helper.py").write_text("def help():\n    pass\n")
    return tmp_path


def test_functions_are_found_by_path_and_qualified_name_outside_tests(tree: Path) -> None:
    found = functions_of(tree)
    assert set(found) == {"shop.py::Cart.total", "shop.py::slug", "shop.py::slug.inner"}
    assert "Sum of prices" in found["shop.py::Cart.total"]


class OneWord:
    """Vectors that know one word."""

    def embed(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] if "slug" in text else [0.6, -0.8] for text in texts]


def test_similarity_is_the_cosine_and_never_below_nothing(tree: Path) -> None:
    rated = rate(tree, "slug loses letters", OneWord())  # type: ignore[arg-type]
    assert rated["shop.py::slug"] == 1.0
    assert rated["shop.py::Cart.total"] == pytest.approx(0.6)


def test_a_tree_without_functions_needs_no_model(tmp_path: Path) -> None:
    assert rate(tmp_path, "report", None) == {}  # type: ignore[arg-type]


def example(call: str) -> Reproduction:
    return Reproduction(examples=(Example(test="t", call=call, function="a.py::f"),))


@pytest.mark.parametrize(
    ("call", "message", "already"),
    [
        ("shipping_cost(50, 'DE')", 'assert 4.9 == 0.0\n +  where 4.9 = shipping_cost(50, "DE")', True),
        ("shipping_cost(50, 'DE')", "assert 4.9 == 0.0\n +  where 4.9 = shipping_cost(60, 'DE')", False),
        ("f(1)", "", False),
    ],
)
def test_an_example_a_failing_test_shows_already_needs_no_test_of_its_own(
    call: str, message: str, already: bool
) -> None:
    assert covered(example(call), [message]) is already


def test_a_report_without_an_example_covers_nothing() -> None:
    assert not covered(Reproduction(), ["anything"])
