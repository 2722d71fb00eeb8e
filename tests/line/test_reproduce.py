"""Reports in plain words become reproduction tests, or an honest reason why not. Nothing here runs a report."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.line.reproduce import reproduce
from tests.line.reports import REPORTS, Report, write


class Shared:
    """The tree for tests by hypothesis, which take no fixture that pytest would make anew."""

    tree = Path()


SHARED = Shared()


@pytest.fixture(scope="module", autouse=True)
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    SHARED.tree = write(tmp_path_factory.mktemp("shop"))
    return SHARED.tree


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.name)
def test_a_report_with_an_example_becomes_a_test(tree: Path, report: Report) -> None:
    found = reproduce(report.title, report.body, tree)
    assert found.tests, found.why
    [test] = found.tests
    assert test.path.startswith("tests/test_report_") and test.origin and found.confidence > 0.4
    ast.parse(test.content)
    for check in report.check.split("\n"):
        assert check.strip() in test.content
    assert len(found.test_ids) == len(found.examples) >= 1
    assert "import shop" not in test.content and "from shop." in test.content


NOTHING = [
    ("vague", "It is broken", "Nothing works since yesterday. Please fix!", "carries no example"),
    ("feature", "Please add dark mode", "It would be nice if the shop had a dark mode.", "carries no example"),
    ("praise", "Thanks", "`slug` is a great function, we use it daily.", "no test was written"),
    ("unknown name", "slugify", '`slugify("A")` gives `A` instead of `a`', "`slugify` is not defined"),
    ("two places", "twice", "`twice(2)` gives 2 instead of 4", "several modules (shop.new, shop.old)"),
    ("no wish", "slug", '`slug("A b")` is interesting.', "does not say what"),
    ("method without object", "total", "`total()` gives 3 instead of 6", "method of Cart"),
    ("same value twice", "slug", '`slug("A b")` gives `a b` instead of `a b`.', "the same"),
    ("not a number", "mean", "`mean([])` should be nan", "no"),
    ("asynchronous", "fetch", "`fetch('x')` gives `'y'` instead of `'x'`", "asynchronous"),
    ("object address", "cart", "`Cart()` gives `<Cart object at 0x7f12>` which is ugly", "no"),
]


@pytest.mark.parametrize(("title", "body", "words"), [n[1:] for n in NOTHING], ids=[n[0] for n in NOTHING])
def test_a_report_without_a_usable_example_gives_the_reason(tree: Path, title: str, body: str, words: str) -> None:
    found = reproduce(title, body, tree)
    assert found.tests == () and found.confidence == 0.0 and words in found.why


INJECTIONS = [
    '`slug(__import__("os").system("touch pwned"))` gives `a` instead of `b`',
    '`slug(open("pwned", "w").write("x"))` gives `a` instead of `b`',
    "`slug(().__class__.__mro__[1].__subclasses__())` gives `a` instead of `b`",
    "`slug.__globals__['re']` gives `a` instead of `b`",
    "`eval('1+1')` gives `3` instead of `2`",
    "`purge('/')` gives `None` instead of `True`",
    "`run('touch pwned')` gives `0` instead of `1`",
    "`calculate('2+2')` gives `5` instead of `4`",
    '`slug("a".format_map(x))` gives `a` instead of `b`',
    "`slug(exec('import os'))` gives `a` instead of `b`",
    "`slug((lambda: exit())())` gives `a` instead of `b`",
    "`re.compile('x')` gives `a` instead of `b`",
    "`shop.danger.shutil.rmtree('/')` gives `a` instead of `b`",
    "`Cart.__init__.__globals__` gives `a` instead of `b`",
    "`slug(getattr(slug, '__code__'))` gives `a` instead of `b`",
    "```python\nimport os\nslug = os.system\nassert slug('touch pwned') == 1\n```",
    "```python\nfrom os import system as slug\nassert slug('touch pwned') == 1\n```",
    "```python\nfrom shop.danger import purge as slug\nassert slug('/') == 1\n```",
    "```python\nfor n in range(9):\n    purge('/')\nassert slug(n) == purge('/')\n```",
    ">>> import subprocess\n>>> x = subprocess.run('touch pwned', shell=True)\n>>> slug(x)\n'a'\n\nshould be 'b'",
    '`slug("x")` gives `__import__("os").system("touch pwned")` instead of `__import__("os").getcwd()`',
]


@pytest.mark.parametrize("body", INJECTIONS)
def test_a_report_never_gets_foreign_code_into_a_test(tree: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = reproduce("Strange", body, tree)
    for test in found.tests:
        for node in ast.walk(ast.parse(test.content)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert all(
                    module in {"pytest", "contextlib", "signal", "shop.text", "shop.numbers"} for module in modules
                )
            if isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                assert not name.startswith("__") and name not in {"system", "exec", "eval", "open", "getattr", "purge"}
    assert not list(tree.rglob("pwned")) and not Path("pwned").exists()


@pytest.mark.parametrize(
    "title",
    [
        '""" + __import__("os").system("x") + """',
        "back\\slash \\",
        "quote '''",
        "line\nbreak\r\x00\x1b[2J",
        "\u202eabc",
        "",
    ],
)
def test_a_strangers_title_stays_words(tree: Path, title: str) -> None:
    found = reproduce(title, '`slug("A b")` gives `a b` instead of `a-b`.', tree)
    module = ast.parse(found.tests[0].content)
    assert [type(node).__name__ for node in module.body] == ["Expr", "ImportFrom", "FunctionDef"]
    assert found.tests[0].content.isprintable() or set(found.tests[0].content) - {"\n"} == {
        c for c in found.tests[0].content if c.isprintable()
    }


def test_strings_of_the_report_enter_as_literals_only(tree: Path) -> None:
    found = reproduce("slug", "`slug(\"'); import os; ('\")` gives `x` instead of `y z`", tree)
    assert "slug(\"'); import os; ('\")" in found.tests[0].content


def test_the_same_report_makes_the_same_file(tree: Path) -> None:
    first, second = (reproduce("slug", '`slug("A b")` gives `a b` instead of `a-b`.', tree) for _ in range(2))
    assert first == second
    other = reproduce("slug", '`slug("A c")` gives `a c` instead of `a-c`.', tree)
    assert other.tests[0].path != first.tests[0].path


def test_mentions_name_definitions_files_and_places(tree: Path) -> None:
    body = 'In `slug` and `Cart.total`, see src/shop/text.py:6 and\n  File "/srv/x/shop/cart.py", line 14, in total\n'
    assert set(reproduce("x", body, tree).mentions) >= {
        "slug",
        "Cart",
        "total",
        "src/shop/text.py:6",
        "src/shop/cart.py:14",
    }


def test_many_examples_make_no_more_tests_than_allowed(tree: Path) -> None:
    body = "\n".join(f'`slug("A {n}")` gives `a {n}` instead of `a-{n}`.' for n in range(60))
    assert len(reproduce("slug", body, tree).examples) == 8


def test_a_huge_report_is_cut_and_read(tree: Path) -> None:
    body = '`slug("A b")` gives `a b` instead of `a-b`.\n' + "blah (" * 60_000
    assert reproduce("slug", body, tree).tests


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["(", "a.", "1_", "slug((", "`", "<!--", "should be ", "| a |\n"])
def test_a_hostile_report_takes_no_long_time(tree: Path, piece: str) -> None:
    assert reproduce("x", piece * (60_000 // len(piece)), tree).tests == ()


def test_a_repository_of_unittest_classes_gets_one_more(tmp_path: Path) -> None:
    (tmp_path / "calc.py").write_text("def add(a, b):\n    return a\n")
    (tmp_path / "test_calc.py").write_text(
        "import unittest\n\nfrom calc import add\n\n\nclass AddTest(unittest.TestCase):\n    def test_it(self):\n"
        "        self.assertEqual(add(1, 0), 1)\n"
    )
    found = reproduce("add", "`add(1, 2)` gives 1 instead of 3; add('a', None) should raise TypeError", tmp_path)
    assert "self.assertEqual(add(1, 2), 3)" in found.tests[0].content
    assert "with self.assertRaises(TypeError):" in found.tests[0].content
    assert found.test_ids[0].startswith(f"{found.tests[0].path}::TestReport::test_add_1_2")


def test_a_package_beside_its_tests_is_imported_by_its_own_name(tmp_path: Path) -> None:
    for path in ("pkg/__init__.py", "pkg/sub/__init__.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "pkg/sub/deep.py").write_text("def up(x):\n    return x\n")
    found = reproduce("up", "up(1) returns 1 but should return 2", tmp_path)
    assert "from pkg.sub.deep import up" in found.tests[0].content
    assert found.tests[0].path.startswith("tests/test_report_")


@given(st.text(max_size=300), st.text(max_size=40))
def test_no_text_is_an_accident(body: str, title: str) -> None:
    root = Path(__file__).parent / "no-such-folder"
    assert reproduce(title, body, root).tests == ()


PARTS = st.sampled_from(
    ['`slug("A b")`', "slug(", "gives", "`a-b`", "instead of", "should be", "Expected:", "```", "\n", ">>> ", "'x'",
     "raises", "ValueError", "| a | b |", "|---|", "hangs", "(((", "E   assert 1 == 2", "#", "3.5", "not", "None",
     "Traceback (most recent call last):", '  File "src/shop/text.py", line 6, in slug', "[1, 2", "})", "\\", '"',
     "clamp(1, 2, 3)"]
)  # fmt: skip


@given(st.lists(PARTS, max_size=25))
def test_any_shuffle_of_a_reports_parts_gives_a_valid_test_or_a_reason(parts: list[str]) -> None:
    found = reproduce("Report", " ".join(parts), SHARED.tree)
    assert found.why
    for test in found.tests:
        compile(test.content, test.path, "exec")
