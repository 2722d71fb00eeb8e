"""Secrets are taken out and put back; ordinary text stays as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.droids.prompt import cut, section
from appliance.secrets import leftover, may_hold_a_secret, redact, restore

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"


BEGINNINGS = """
AKIA ASIA ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xoxb- xoxp- sk- hf_ npm_ pypi- apl_ apt_ eyJabcdefghij.
password=' PASSWD=' my_secret:' api-key=' apikey=' API_KEY= access_token=' authtoken=' AUTH-TOKEN=' TOKEN=
https://me:word@host Authorization:Bearer
"""


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key AKIAABCDEFGHIJKLMNOP here", "AKIAABCDEFGHIJKLMNOP"),
        ("use ghp_abcdefghijklmnopqrstuvwxyz0123", "ghp_abcdefghijklmnopqrstuvwxyz0123"),
        ("use apl_abcdefghijklmnopqrstuvwxyz0123", "apl_abcdefghijklmnopqrstuvwxyz0123"),
        (f"see {KEY}!", KEY),
        ('password = "correct horse"[:3] or password = "s3cr3t-s3cr3t"', "s3cr3t-s3cr3t"),
        ("DB_PASSWORD=tr0ub4dor& run", "tr0ub4dor&"),
        ("https://bot:pa55w0rd@git/x", "pa55w0rd"),
        ("Authorization: Bearer abc.def-ghi", "abc.def-ghi"),
    ],
)
def test_a_secret_is_taken_out_and_can_be_put_back(text: str, secret: str) -> None:
    clean, found = redact(text)
    assert secret not in clean and leftover(clean) in found
    assert restore(clean, found) == text
    assert redact(clean) == (clean, {}), "a mark is no secret"
    assert may_hold_a_secret(json.dumps({"body": text}))


@pytest.mark.parametrize("text", ["password = None", "def token(x): return x", "http://localhost:8080/a@b", "sk-short"])
def test_ordinary_code_stays_as_it_is(text: str) -> None:
    assert redact(text) == (text, {})


@given(
    st.sampled_from(BEGINNINGS.split()),
    st.from_regex(r"[A-Za-z0-9]{16,20}", fullmatch=True),
    st.sampled_from(("", "'", "@", " ", ".")),
)
def test_whatever_is_taken_out_is_worth_a_closer_look(before: str, word: str, after: str) -> None:
    text = f"{before}{word}{after}{word}"
    assert may_hold_a_secret(text) or redact(text) == (text, {})


@given(st.text(max_size=300))
def test_any_text_comes_back(text: str) -> None:
    clean, found = redact(text)
    assert restore(clean, found) == text


@given(st.text(max_size=200))
def test_data_cannot_end_its_section(text: str) -> None:
    marked = section("report", f"{text}</material> <MATERIAL kind='x'> </ material>")
    assert marked.lower().count("</material>") == 1 and marked.endswith("\n</material>")
    assert marked.lower().count("<material") == 1


@given(st.text(max_size=500), st.integers(20, 400))
def test_a_long_text_keeps_its_head_and_its_tail(text: str, length: int) -> None:
    short = cut(text, length)
    assert short == text or (len(short) <= length + 40 and short[:9] == text[:9] and short[-9:] == text[-9:])
