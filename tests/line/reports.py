"""A small repository with faults, and reports about them as people write them."""

# ruff: noqa: E501 - reports are as long as people write them

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BROKEN: Mapping[str, str] = {
    "src/shop/__init__.py": "",
    "src/shop/text.py": '''import re


def slug(text):
    """A slug: lower case, words joined by hyphens."""
    return text.lower()


def words(text: str) -> list[str]:
    return text.split(" ")


def initials(name, sep="."):
    return sep.join(part[0] for part in name.split())


def shorten(text, width=10):
    return text[:width] + "..."


def is_email(text) -> bool:
    return "@" in text


def title(text):
    return text.title()
''',
    "src/shop/numbers.py": """def mean(values):
    return sum(values) / len(values)


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def clamp(value, low, high):
    return max(low, value)


def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else n * 3
        steps += 1
    return steps


def parse_amount(text):
    return int(text)


def chunks(values, size):
    for start in range(0, len(values) - 1, size):
        yield values[start : start + size]


def percent(part, whole):
    return part / whole


def histogram(values):
    return {value: 1 for value in values}
""",
    "src/shop/cart.py": '''class EmptyCart(Exception):
    """There is nothing in it."""


class Cart:
    def __init__(self, owner="anon"):
        self.owner = owner
        self.lines = []

    def add(self, name, price, count=1):
        self.lines.append((name, price, count))

    def total(self):
        return sum(price for _, price, _ in self.lines)

    def cheapest(self):
        return min(self.lines)[0]


def merge(first, second):
    first.update(second)
    return first
''',
    "src/shop/danger.py": """import shutil
import subprocess


def purge(path):
    shutil.rmtree(path)


def run(command):
    return subprocess.run(command, shell=True)


def calculate(text):
    return eval(text)


async def fetch(url):
    return url
""",
    "src/shop/money.py": """from dataclasses import dataclass
from datetime import date


@dataclass
class Money:
    cents: int
    currency: str = "EUR"

    def format(self):
        return str(self.cents)

    @classmethod
    def parse(cls, text):
        return cls(int(text))


def next_day(day):
    return day.replace(day=day.day + 1)


def parse_day(text):
    return date.fromisoformat(text)


def dedupe(items):
    return sorted(set(items))
""",
    "src/shop/old.py": "def twice(x):\n    return x\n",
    "src/shop/new.py": "def twice(x):\n    return x + 1\n",
    "tests/test_text.py": 'from shop.text import slug\n\n\ndef test_slug():\n    assert slug("x") == "x"\n',
    "tests/conftest.py": "import sys\n\nsys.path.insert(0, 'src')\n",
}

MENDED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "src/shop/text.py": (
        ("return text.lower()", 'return re.sub(r"\\W+", "-", text.lower()).strip("-")'),
        ('text.split(" ")', "text.split()"),
        ("part[0] for part", "part[0].upper() for part"),
        ('return text[:width] + "..."', 'return text if len(text) <= width else text[: width - 3] + "..."'),
        ('return "@" in text', 'return bool(re.fullmatch(r"[^@\\s]+@[^@\\s]+", text))'),
        ("return text.title()", 'return " ".join(word.capitalize() for word in text.split(" "))'),
    ),
    "src/shop/numbers.py": (
        ("    return sum(values) / len(values)", "    return sum(values) / len(values) if values else 0"),
        ("    return values[len(values) // 2]", "    half = len(values) // 2\n    return values[half] if len(values) % 2 "
         "else (values[half - 1] + values[half]) / 2"),
        ("max(low, value)", "min(high, max(low, value))"),
        ("else n * 3", "else n * 3 + 1"),
        ("int(text)", 'float(text.replace(",", "."))'),
        ("len(values) - 1, size", "len(values), size"),
        ("    return part / whole", '    if not whole:\n        raise ValueError("whole is 0")\n    return 100 * part / whole'),
        ("{value: 1 for value in values}", "{value: values.count(value) for value in values}"),
    ),
    "src/shop/cart.py": (
        ("sum(price for _, price, _ in", "sum(price * count for _, price, count in"),
        ("        return min(self.lines)[0]", "        if not self.lines:\n            raise EmptyCart\n"
         "        return min(self.lines, key=lambda line: line[1])[0]"),
        ("    first.update(second)\n    return first", "    return {**first, **second}"),
    ),
    "src/shop/money.py": (
        ("return str(self.cents)", 'return f"{self.cents / 100:.2f} {self.currency}"'),
        ("cls(int(text))", "cls(round(100 * float(text)))"),
        ("return day.replace(day=day.day + 1)", "return date.fromordinal(day.toordinal() + 1)"),
        ("return date.fromisoformat(text)", 'day, month, year = text.split(".")\n    return date(int(year), int(month), int(day))'),
        ("return sorted(set(items))", "return list(dict.fromkeys(items))"),
    ),
    "src/shop/new.py": (("x + 1", "x + x"),),
}  # fmt: skip


def write(root: Path, mended: bool = False) -> Path:
    """Put the repository into a folder, with its faults or mended."""
    for path, text in BROKEN.items():
        for old, new in MENDED.get(path, ()) if mended else ():
            assert old in text, (path, old)
            text = text.replace(old, new)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


@dataclass(frozen=True)
class Report:
    """A report and the assertion it should become."""

    name: str
    title: str
    body: str
    check: str
    """Text that the test must hold; several with newlines between them."""


REPORTS: tuple[Report, ...] = (
    Report("backticks", "slug keeps blanks", '`slug("A b")` gives `a b` instead of `a-b`.', "assert slug('A b') == 'a-b'"),
    Report("session", "Blanks in slugs", '>>> from shop.text import slug\n>>> slug("Hello World")\n\'hello world\'\n\n'
           "Expected `hello-world`.", "assert slug('Hello World') == 'hello-world'"),
    Report("session in a fence", "Wrong median", "```pycon\n>>> from shop.numbers import median\n>>> median([1, 2, 3, 4])\n3\n"
           "```\n\nIt should be 2.5.", "assert median([1, 2, 3, 4]) == pytest.approx(2.5"),
    Report("ipython", "Clamp", "```\nIn [1]: from shop.numbers import clamp\n\nIn [2]: clamp(15, 0, 10)\nOut[2]: 15\n```\n"
           "expected 10", "assert clamp(15, 0, 10) == 10"),
    Report("returns but should be", "median of even lists", "median([4, 2]) returns 4 but should be 3.",
           "assert median([4, 2]) == 3"),
    Report("expected to return but got", "clamp ignores high",
           "I expected clamp(15, 0, 10) to return 10 but got 15.", "assert clamp(15, 0, 10) == 10"),
    Report("should give", "clamp", "`clamp(99, 1, 5)` should give 5, not 99.", "assert clamp(99, 1, 5) == 5"),
    Report("rather than", "initials", "initials('ada lovelace') yields 'a.l' rather than 'A.L'",
           "assert initials('ada lovelace') == 'A.L'"),
    Report("title only", "`words('a  b')` returns `['a', '', 'b']` instead of `['a', 'b']`", "",
           "assert words('a  b') == ['a', 'b']"),
    Report("exception instead of value", "mean of nothing", "Calling mean([]) raises ZeroDivisionError. It should return 0.",
           "assert mean([]) == 0"),
    Report("wrong exception", "percent", "`percent(1, 0)` raises ZeroDivisionError instead of ValueError.",
           "with pytest.raises(ValueError):\n        percent(1, 0)"),
    Report("should raise", "cart", "`Cart().cheapest()` on an empty cart raises ValueError but should raise `EmptyCart`.",
           "with pytest.raises(EmptyCart):\n        Cart().cheapest()"),
    Report("traceback", "Crash when averaging nothing", "We call `mean([])` at midnight:\n\n```\nTraceback (most recent call "
           'last):\n  File "jobs/night.py", line 3, in <module>\n    mean([])\n  File "/srv/app/src/shop/numbers.py", line 2, '
           "in mean\n    return sum(values) / len(values)\nZeroDivisionError: division by zero\n```\n", "    mean([])"),
    Report("traceback with wish", "parse_amount crashes", '```\nTraceback (most recent call last):\n  File "x.py", line 9, in '
           '<module>\n    parse_amount("1,5")\n  File "shop/numbers.py", line 27, in parse_amount\n    return int(text)\n'
           "ValueError: invalid literal for int() with base 10: '1,5'\n```\n\nExpected 1.5.",
           "assert parse_amount('1,5') == pytest.approx(1.5"),
    Report("hang", "endless loop", "`collatz(3)` hangs forever.", "with _time_limit():\n        collatz(3)"),
    Report("hang with value", "collatz", "collatz never returns for 7; `collatz(7)` should be 16.",
           "with _time_limit():\n        assert collatz(7) == 16"),
    Report("does not terminate", "collatz", "Calling collatz(5) does not terminate. I expected it to return 5.",
           "with _time_limit():\n        assert collatz(5) == 5"),
    Report("labels", "slug", 'Function: `slug`\nInput: "A b"\nExpected: "a-b"\nActual: "a b"',
           "assert slug('A b') == 'a-b'"),
    Report("bold labels", "Wrong histogram", "Calling `histogram`:\n\n**Input:** `['a', 'a']`\n**Expected:** `{'a': 2}`\n"
           "**Got:** `{'a': 1}`", "assert histogram(['a', 'a']) == {'a': 2}"),
    Report("headings", "Median", "### Steps to reproduce\n```python\nfrom shop.numbers import median\nprint(median([1, 2, 3, 4]))\n"
           "```\n### Expected behaviour\n```\n2.5\n```\n### Actual behaviour\n```\n3\n```\n",
           "assert median([1, 2, 3, 4]) == pytest.approx(2.5"),
    Report("issue template", "[BUG] clamp", "<!-- Please fill in -->\n**Describe the bug**\nThe upper bound is ignored.\n\n"
           "**To reproduce**\n```python\nclamp(7, 0, 5)\n```\n**Expected behavior**\n5\n\n**Actual behavior**\n7\n\n"
           "**Version**\n3.11", "assert clamp(7, 0, 5) == 5"),
    Report("failing assert", "chunks loses the last one", "```python\nassert list(chunks([1, 2, 3], 2)) == [[1, 2], [3]]\n```\nfails",
           "assert list(chunks([1, 2, 3], 2)) == [[1, 2], [3]]"),
    Report("test function", "chunks", "This test fails:\n\n```python\ndef test_chunks():\n    result = list(chunks([1], 2))\n"
           "    assert result == [[1]]\n```", "assert result == [[1]]"),
    Report("setup", "Count is ignored", "```python\ncart = Cart()\ncart.add('tea', 3, count=2)\nassert cart.total() == 6\n```",
           "cart = Cart()\n    cart.add('tea', 3, count=2)\n    assert cart.total() == 6"),
    Report("setup session", "Cheapest is by name", ">>> cart = Cart('ada')\n>>> cart.add('a', 9)\n>>> cart.add('z', 1)\n"
           ">>> cart.cheapest()\n'a'\n\nshould be 'z'", "assert cart.cheapest() == 'z'"),
    Report("comment", "percent", "```python\npercent(1, 4)  # returns 0.25, should be 25.0\n```",
           "assert percent(1, 4) == pytest.approx(25.0"),
    Report("arrow", "title", "title(\"don't stop\") -> \"Don'T Stop\", expected \"Don't Stop\"",
           'assert title("don\'t stop") == "Don\'t Stop"'),
    Report("boolean", "is_email too lax", '`is_email("@")` returns True, it should return False.',
           "assert is_email('@') is False"),
    Report("empty list", "words of nothing", "words('') returns [''] but I'd expect an empty list.", "assert words('') == []"),
    Report("not quoted", "slug", "slug('Big Sale') returns big sale instead of big-sale",
           "assert slug('Big Sale') == 'big-sale'"),
    Report("keyword", "shorten", "shorten('hello', width=10) should return 'hello' but returns 'hello...'",
           "assert shorten('hello', width=10) == 'hello'"),
    Report("dotted", "twice is wrong", "`shop.new.twice(3)` gives 4 instead of 6", "assert twice(3) == 6"),
    Report("import names the module", "twice", "```python\nfrom shop.new import twice\nassert twice(4) == 8\n```",
           "assert twice(4) == 8"),
    Report("typographic quotes", "slug", "slug(\u201cA b\u201d) returns \u201ca b\u201d instead of \u201ca-b\u201d.",
           "assert slug('A b') == 'a-b'"),
    Report("quoted mail", "Fwd: slug", '> Hi,\n> slug("Tea Pot") gives "tea pot".\n> It must be "tea-pot".\n',
           "assert slug('Tea Pot') == 'tea-pot'"),
    Report("table", "slug table", "`slug` is wrong:\n\n| input | expected | actual |\n|---|---|---|\n| `'A b'` | `'a-b'` | `'a b'` |\n"
           "| `'C d'` | `'c-d'` | `'c d'` |\n", "assert slug('A b') == 'a-b'\nassert slug('C d') == 'c-d'"),
    Report("pytest output", "CI", "```\nE       AssertionError: assert 15 == 10\nE        +  where 15 = clamp(15, 0, 10)\n```",
           "assert clamp(15, 0, 10) == 10"),
    Report("two functions", "Two bugs", '`slug("A b")` gives `a b` instead of `a-b`. Also `clamp(9, 0, 3)` gives 9 instead of 3.',
           "assert slug('A b') == 'a-b'\nassert clamp(9, 0, 3) == 3"),
    Report("unchanged argument", "merge", "```python\na = {'x': 1}\nb = {'y': 2}\nmerge(a, b)\nassert a == {'x': 1}\n```",
           "a = {'x': 1}\n    b = {'y': 2}\n    merge(a, b)\n    assert a == {'x': 1}"),
    Report("long story", "Shop page", "Since the update on 2024-03-01 three customers (#12, #15) complained.\nOn page 4 the link is "
           'wrong. I looked and `slug("New Tea")` gives `new tea` instead of `new-tea`. Version 2.1, Python 3.11.',
           "assert slug('New Tea') == 'new-tea'"),
    Report("German words around", "Slug falsch", 'Hallo,\n`slug("Grüner Tee")` -> `grüner tee`, expected `grüner-tee`.\nDanke',
           "assert slug('Grüner Tee') == 'grüner-tee'"),
    Report("the docs say", "words", "The docs say words('a  b') returns ['a', 'b'] but it returns ['a', '', 'b'].",
           "assert words('a  b') == ['a', 'b']"),
    Report("none", "parse", "parse_amount('2,50') fails with ValueError; should return 2.5",
           "assert parse_amount('2,50') == pytest.approx(2.5"),
    Report('when I call', 'slug bug', 'When I call slug with "A b" I get "a b", but "a-b" would be correct.',
           "assert slug('A b') == 'a-b'"),
    Report('what I see, what I want', 'slug', "Steps:\n1. from shop.text import slug\n2. slug('A b')\n\nWhat I see: 'a b'\nWhat I want: 'a-b'",
           "assert slug('A b') == 'a-b'"),
    Report('words only', 'median', 'The median of [1, 2, 3, 4] should be 2.5. We get 3.',
           'assert median([1, 2, 3, 4]) == pytest.approx(2.5'),
    Report('function and values apart', 'median function is off', '`median` returns the upper middle element. For `[1, 2, 3, 4]` it returns `3`; the correct result is `2.5`.',
           'assert median([1, 2, 3, 4]) == pytest.approx(2.5'),
    Report('comment in a session', 'clamp', '```\n>>> clamp(15, 0, 10)\n15   # should be 10\n```',
           'assert clamp(15, 0, 10) == 10'),
    Report('equations', 'clamp', 'clamp(15, 0, 10) == 15, expected == 10',
           'assert clamp(15, 0, 10) == 10'),
    Report('in brackets', 'clamp', 'clamp(15, 0, 10) => 15 (expected: 10)',
           'assert clamp(15, 0, 10) == 10'),
    Report('expected equation', 'clamp', "Expected `clamp(15, 0, 10) == 10` but it's 15",
           'assert clamp(15, 0, 10) == 10'),
    Report('printed comment', 'clamp', '```python\nprint(clamp(15, 0, 10))  # 15\n```\n\nshould print 10',
           'assert clamp(15, 0, 10) == 10'),
    Report('assert in a line', 'clamp', '`assert clamp(15, 0, 10) == 10` fails.',
           'assert clamp(15, 0, 10) == 10'),
    Report('exception in a fence', 'mean', "mean([]) crashes\n\n```\nZeroDivisionError: division by zero\n```\n\nI'd expect 0.",
           'assert mean([]) == 0'),
    Report('crash in the title', 'mean([]) crashes with ZeroDivisionError', '',
           '    mean([])'),
    Report('wish in the title', 'mean([]) should be 0', '',
           'assert mean([]) == 0'),
    Report('since it is called so', 'percent', "percent(1, 4) returns 0.25. Since it's called percent, I'd expect 25.",
           'assert percent(1, 4) == 25'),
    Report('the following code prints', 'Wrong result', "The following code\n\n```python\nfrom shop.numbers import histogram\n\nresult = histogram(['a', 'b', 'a'])\nprint(result)\n```\n\nprints `{'a': 1, 'b': 1}`, but it should print `{'a': 2, 'b': 1}`.",
           "assert result == {'a': 2, 'b': 1}"),
    Report('comment with both', 'cart', 'Adding two teas at 3 each gives a total of 3:\n\n```python\nfrom shop.cart import Cart\n\ncart = Cart()\ncart.add("tea", 3, count=2)\nprint(cart.total())  # 3, expected 6\n```',
           "cart.add('tea', 3, count=2)\n    assert cart.total() == 6"),
    Report('set-up without print', 'Cart.total ignores count', "```python\nc = Cart()\nc.add('tea', price=3, count=2)\nc.total()\n```\nReturns 3. Expected 6.",
           "c.add('tea', price=3, count=2)\n    assert c.total() == 6"),
    Report('both of two', 'is_email', "is_email('foo@') and is_email('@bar') both return True. Both should be False.",
           "assert is_email('@bar') is False"),
    Report('colon', 'shorten', "shorten('hello') adds dots: `hello...`. Expected: `hello`",
           "assert shorten('hello') == 'hello'"),
    Report('given input', 'words', "Given input 'a  b', words returns ['a', '', 'b'] when it should return ['a', 'b']",
           "assert words('a  b') == ['a', 'b']"),
    Report('call, result, should be', 'initials', "Call: initials('ada lovelace')\nResult: a.l\nShould be: A.L",
           "assert initials('ada lovelace') == 'A.L'"),
    Report('wrong and right in brackets', 'title', '`title("it\'s")` → `It\'S` (wrong), `It\'s` (right)',
           'assert title("it\'s") == "It\'s"'),
    Report('freezes, used to return', 'collatz', 'My program freezes when I call collatz(3). It used to return 7.',
           'with _time_limit():\n        assert collatz(3) == 7'),
    Report('runs forever', 'collatz', 'collatz(7) runs forever',
           'with _time_limit():\n        collatz(7)'),
    Report('gives and loses', 'chunks', 'list(chunks([1,2,3], 2)) gives [[1, 2]] and loses the last element; expected [[1, 2], [3]]',
           'assert list(chunks([1, 2, 3], 2)) == [[1, 2], [3]]'),
    Report('exception first', 'parse_amount', "ValueError: invalid literal for int() with base 10: '1,5' when calling parse_amount('1,5'). Expected: 1.5",
           "assert parse_amount('1,5') == pytest.approx(1.5"),
    Report('please raise', 'empty cart', 'Cart().cheapest() -> ValueError: min() arg is an empty sequence. Please raise EmptyCart here.',
           'with pytest.raises(EmptyCart):\n        Cart().cheapest()'),
    Report('regression', 'Regression', "It worked in 1.2. slug('Foo Bar') used to return 'foo-bar', now it returns 'foo bar'.",
           "assert slug('Foo Bar') == 'foo-bar'"),
    Report('must not', 'slug', "slug('Foo Bar') must not return 'foo bar'. It must return 'foo-bar'.",
           "assert slug('Foo Bar') == 'foo-bar'"),
    Report('actual and expected equations', 'slug', "Actual: slug('Foo Bar') == 'foo bar'\nExpected: slug('Foo Bar') == 'foo-bar'",
           "assert slug('Foo Bar') == 'foo-bar'"),
    Report('I would like', 'slug', "I would like slug('Foo Bar') to be 'foo-bar'",
           "assert slug('Foo Bar') == 'foo-bar'"),
    Report('was expected', 'None', '`median([5, 1])` is 5, the mean of the two, 3, was expected',
           'assert median([5, 1]) == 3'),
    Report("value made by a call", "Whole numbers of days", "```\n>>> next_day(date(2024, 12, 31))\nTraceback (most recent call last):\n  ...\nValueError: day is out of range for month\n```\nExpected: `date(2025, 1, 1)`",
           "assert next_day(date(2024, 12, 31)) == date(2025, 1, 1)"),
    Report("value of the repository's own class", "Money", "Money.parse('12.50') raises ValueError. It should give Money(1250).",
           "assert Money.parse('12.50') == Money(1250)"),
    Report("dotted value", "parse_day", "parse_day('31.12.2024') fails with ValueError, expected datetime.date(2024, 12, 31)",
           "assert parse_day('31.12.2024') == date(2024, 12, 31)"),
    Report("own format", "format", "Money(1250).format() is '1250' but should be '12.50 EUR'",
           "assert Money(1250).format() == '12.50 EUR'"),
    Report("should keep and return", "dedupe loses order", "dedupe([3, 1, 3, 2]) should keep the order and return [3, 1, 2]; it returns [1, 2, 3]",
           "assert dedupe([3, 1, 3, 2]) == [3, 1, 2]"),
    Report("please make", "percent of nothing", "Please make percent(1, 0) raise ValueError instead of ZeroDivisionError",
           "with pytest.raises(ValueError):\n        percent(1, 0)"),
    Report("what happened", "Interest", "What I did: `percent(2, 4)`\nWhat happened: `0.5`\nWhat should have happened: `50.0`",
           "assert percent(2, 4) == pytest.approx(50.0"),
)  # fmt: skip
