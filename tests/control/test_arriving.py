"""Where a request ends, whichever pieces it comes in, and until when it is waited for."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from gunicorn.config import Config
from gunicorn.http import RequestParser
from hypothesis import given
from hypothesis import strategies as st

from control.arriving import LONGEST_HEAD, MARGIN, Arriving

MOST = 1000
PLAIN = b"POST /hooks/gitea HTTP/1.1\r\nHost: box\r\n"
BODIES = st.binary(max_size=200)


def arrived(pieces: Iterable[bytes]) -> Arriving:
    request = Arriving(lambda _head: MOST, 0.0, 5.0)
    for number, piece in enumerate(pieces):
        request.take(piece, float(number))
    return request


def with_length(body: bytes) -> bytes:
    return PLAIN + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(pieces: Iterable[bytes], trailer: bytes = b"") -> bytes:
    chunks = b"".join(b"%x;name=value\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    return PLAIN + b"transfer-encoding:  Chunked\r\n\r\n" + chunks + b"0\r\n" + trailer + b"\r\n"


def cut(content: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(content)) for place in places} | {0, len(content)})
    return [content[start:end] for start, end in pairwise(ends)]


@given(st.one_of(BODIES.map(with_length), st.lists(BODIES, max_size=5).map(chunked),
                 st.lists(BODIES, max_size=3).map(lambda some: chunked(some, b"X-Sum: 1\r\n"))),
       st.lists(st.integers(0, 1500), max_size=8))  # fmt: skip
def test_a_request_is_whole_with_its_last_byte_and_not_before_in_whatever_pieces_it_comes(
    content: bytes, places: list[int]
) -> None:
    request = arrived(cut(content, places))
    assert request.ready and request.whole and request.content == content
    assert not arrived(cut(content[:-1], places)).ready


@given(st.one_of(BODIES.map(with_length), st.lists(BODIES, max_size=5).map(chunked)), st.binary(max_size=40))
def test_gunicorn_s_parser_finds_the_same_end(content: bytes, more: bytes) -> None:
    parser = RequestParser(Config(), iter([content + more]), ("127.0.0.1", 1))
    parsed = next(parser)
    parsed.body.read()
    assert parser.unreader.take_buffered() == more


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_nonsense_is_complete_or_waited_for_but_never_an_error(content: bytes, places: list[int]) -> None:
    request = arrived(cut(PLAIN + b"Transfer-Encoding: chunked\r\n\r\n" + content, places))
    assert request.content.endswith(content)
    assert arrived(cut(content, places)).size <= len(content)


@pytest.mark.parametrize(
    "head", [b"Content-Length: -1", b"Content-Length: 1_0", b"Content-Length: 0x4", b"Content-Length:", b"X: y"]
)
def test_a_length_that_makes_no_sense_leaves_it_to_the_parser(head: bytes) -> None:
    assert arrived([PLAIN + head + b"\r\n\r\n"]).ready


def test_a_body_that_is_too_large_is_handed_over_before_it_is_here() -> None:
    told = arrived([PLAIN + b"Content-Length: 1001\r\n\r\n"])
    assert told.ready and not told.whole
    endless = PLAIN + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"
    assert not arrived([endless, b"x" * (MARGIN + MOST - 20)]).ready
    untold = arrived([endless, b"x" * (MARGIN + MOST)])
    assert untold.ready and not untold.whole


def test_a_head_without_an_end_is_too_long_at_some_point() -> None:
    assert not arrived([PLAIN, b"X: " + b"x" * 1000]).head_too_long
    assert arrived([PLAIN, b"X: " + b"x" * LONGEST_HEAD]).head_too_long
    assert arrived([PLAIN + b"Transfer-Encoding: chunked\r\n\r\n", b"1" * 9000]).ready


def test_a_sender_that_waits_for_a_word_is_given_it_once_and_only_when_it_may_send() -> None:
    waiting = arrived([PLAIN + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"])
    assert waiting.waits_for_word
    waiting.go_on()
    waiting.take(b"four", 1.0)
    assert not waiting.waits_for_word and not waiting.ready
    assert not arrived([PLAIN + b"Expect: 100-continue\r\nContent-Length: 9999\r\n\r\n"]).waits_for_word


def test_head_body_and_silence_have_their_times() -> None:
    request = Arriving(lambda _head: MOST, 100.0, 5.0)
    assert request.until == 105
    request.take(b"\r\n", 101.0)
    assert request.until == 106, "an empty line is no beginning"
    for second in range(102, 111):
        request.take(b"P", float(second))
    assert request.until == 112, "the head has ten seconds in all, however it drips"
    request.take(b"OST / HTTP/1.1\r\nContent-Length: 900\r\n\r\n", 111.0)
    assert request.until == 121, "the body may be silent for ten"
    for second in range(112, 160):
        request.take(b"x", float(second))
    assert request.until == 162, "and has, with the head, sixty in all"
