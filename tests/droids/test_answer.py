"""What models really write, and how it is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.droids.answer import Replace, Whole, read

BLOCK = "<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE"
EDIT = Replace("shop/text.py", "old", "new")


@pytest.mark.parametrize(
    "text",
    [
        f"shop/text.py\n{BLOCK}",
        f"shop/text.py\n```python\n{BLOCK}\n```",
        f"```python\nshop/text.py\n{BLOCK}\n```",
        f"```python\n# shop/text.py\n{BLOCK}\n```",
        f"```python shop/text.py\n{BLOCK}\n```",
        f"```python:shop/text.py\n{BLOCK}\n```",
        f"**shop/text.py**\n\n````\n{BLOCK}\n````",
        f"### File: `shop/text.py`\n~~~python\n{BLOCK}\n~~~",
        f"FILE: shop\\text.py\n{BLOCK}",
        f"Here is the fix.\n\n`shop/text.py`:\n\n{BLOCK}\n\nIt works now.",
        f"<think>shop/wrong.py\n{BLOCK}</think>\nshop/text.py\n{BLOCK}",
        f"shop/text.py\r\n{BLOCK}".replace("\n", "\r\n"),
        f"shop/text.py\n{BLOCK}".replace("<<<<<<< ", "<<<<<< ").replace(">>>>>>> ", ">>>>>>>> "),
        f"shop/text.py\n{BLOCK}\n```python\nprint('an example of its use')\n```",
        f"```\nsome output\n```\nshop/text.py\n```\n{BLOCK}\n```",
    ],
)
def test_a_block_is_found_however_its_file_is_named(text: str) -> None:
    found = read(text)
    assert found.edits == (EDIT,) and not found.problem


def test_several_blocks_share_the_path_named_last() -> None:
    found = read(f"a/x.py\n```\n{BLOCK}\n\n{BLOCK}\n```\nand in b/y.py:\nb/y.py\n{BLOCK}")
    assert [edit.path for edit in found.edits] == ["a/x.py", "a/x.py", "b/y.py"]


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        ("shop/text.py\n```python\nX = 1\n```", Whole("shop/text.py", "X = 1\n")),
        ("shop/text.py::Cart.total\n```python\ndef total(self):\n    return 1\n```",
         Whole("shop/text.py", "def total(self):\n    return 1\n", "Cart.total")),
        ("**FUNCTION: `text.py::slug`**\n```\ndef slug(): ...\n```", Whole("text.py", "def slug(): ...\n", "slug")),
        ("a.py\n````\n```\nX\n```\n````", Whole("a.py", "```\nX\n```\n")),
    ],
)  # fmt: skip
def test_a_fence_after_a_path_is_its_whole_new_text(text: str, edit: Whole) -> None:
    assert read(text).edits == (edit,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no edit"),
        ("The bug is in slug, I would lower it.", "no edit"),
        ("```python\ndef slug(): ...\n```", "no edit"),
        (BLOCK, "names no file"),
        ("a.py\n<<<<<<< SEARCH\nold\n=======\nnew", "not complete"),
        ("a.py\n<<<<<<< SEARCH\nold\n>>>>>>> REPLACE", "not complete"),
        (f"a.py\n<<<<<<< SEARCH\nold\n{BLOCK}", "not complete"),
        ("a.py\n```python\nX = 1\n", "never closes"),
        ("a.py\n```python\n\n```", "empty"),
        ("a.py\n```diff\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-X\n+Y\n```", "diff"),
        ("a.py\n```python\n>>> slug('x')\n'x'\n```", "session"),
        ("\n".join(f"a.py\n{BLOCK}" for _ in range(50)), "at most 40"),
        ("<think>a.py\n" + BLOCK, "no edit"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, words: str) -> None:
    found = read(text)
    assert found.edits == () and words in found.problem


def test_a_default_path_helps_a_model_that_names_none() -> None:
    assert read(BLOCK, "shop/text.py").edits == (EDIT,)


def test_a_model_may_give_up_with_a_reason() -> None:
    found = read("I looked.\nCANNOT: the tests contradict each other")
    assert found.cannot == "the tests contradict each other" and not found.problem
    assert read(f"CANNOT: hm\na.py\n{BLOCK}").edits, "an edit counts for more than words"


def test_words_around_the_edits_are_kept_for_people() -> None:
    assert read(f"The blanks stay.\n\na.py\n{BLOCK}\nDone.").words == "The blanks stay. Done."


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", ["\n", "`", "<<<<<<< SEARCH\n", "a/", "#", "```\n", "CANNOT"])
def test_a_long_answer_of_nothing_takes_no_long_time(piece: str) -> None:
    assert read(piece * (60_000 // len(piece))).edits == ()


@given(st.text(alphabet=st.sampled_from("<>=`~#\n \tSEARCHREPLACE/a.py:x"), max_size=400))
def test_any_text_is_read_without_an_accident(text: str) -> None:
    found = read(text)
    assert bool(found.edits) + bool(found.problem) + bool(found.cannot) == 1
