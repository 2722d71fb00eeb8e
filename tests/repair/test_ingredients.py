"""What is put back from what stands elsewhere in the file."""

from __future__ import annotations

import textwrap

import pytest

from appliance.repair.edits import new_contents
from appliance.repair.source import Source
from appliance.repair.templates import edits_of

HEADER = """
    import os


    class Reader:
        def __init__(self, text):
            self.text = text
            self.left = []

        def token(self):
            word = self.text.strip()
            if word and self.text != "":
                self.left.append(word)
            return word

        def rest(self, start, end):
            width = end - start
            LINE
            return width


    def alone(value):
        LINE
        return value
"""


def changed(line: str, function: str) -> set[str]:
    """The line as each edit of it leaves it."""
    head, tail = HEADER.split("        LINE\n        return value")
    text = head.replace("LINE", line if function == "rest" else "pass") + (
        f"        {line if function == 'alone' else 'pass'}\n        return value" + tail
    )
    source = Source("m.py", textwrap.dedent(text))
    number = next(n for n, one in enumerate(source.lines, start=1) if one.strip() == line)
    return {
        new_contents(edit, {"m.py": source.text})["m.py"].split("\n")[number - 1].strip()
        for edit in edits_of(source, {number: 1.0})
    }


@pytest.mark.parametrize(
    ("line", "function", "meant"),
    [
        ("word = self", "rest", "word = self.token()"),
        ("word = self.text", "rest", "word = self.text.strip()"),
        ("self.left.append", "rest", "self.left.append(width)"),
        ("width.left = [start]", "rest", "self.left = [start]"),
        ("x = start", "rest", "x = start + end"),
    ],
)
def test_what_was_left_out_is_put_back(line: str, function: str, meant: str) -> None:
    assert meant in changed(line, function)


def test_names_without_a_value_here_are_not_borrowed() -> None:
    assert not any("width" in one or "self" in one for one in changed("x = value", "alone"))
