"""What an edit's size is: characters that are really other ones."""

from __future__ import annotations

import pytest

from appliance.repair.rank import different


@pytest.mark.parametrize(
    ("old", "new", "characters"),
    [
        ("not (a and b and c)", "(a and b and c)", 4),
        ("a + b", "a", 4),
        ("items[low]", "items[high]", 4),
        ("abc", "abc", 0),
        ("", "x = 1", 5),
    ],
)
def test_what_is_kept_of_a_text_does_not_count(old: str, new: str, characters: int) -> None:
    assert different(old, new) == characters
