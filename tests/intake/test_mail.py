"""Mails as reports: charsets, parts, loops, senders, and mails made to be hard to take apart."""

from __future__ import annotations

import time
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.intake.html_text import words_of
from appliance.intake.mail import opened, read, receive
from appliance.news import Delivery

SENDERS = ("*@site.example",)
KNOWN = ("shop", "Bill-ing")


def mail(text: str = "by a cent\n", **headers: str) -> bytes:
    message = EmailMessage()
    defaults = {"From": "Mira <mira@site.example>", "To": "factory+shop@box.example", "Subject": "Totals are off",
                "Message-ID": "<m1@site.example>"}  # fmt: skip
    for name, value in {**defaults, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
        if value:
            message[name] = value
    message.set_content(text)
    return message.as_bytes()


def taken(raw: bytes, size: int = 0) -> Delivery:
    return receive(raw, size or len(raw), SENDERS, KNOWN)


def test_a_mail_is_a_report_of_its_author_known_by_its_message_id() -> None:
    delivery = taken(mail())
    assert (delivery.source, delivery.repo, delivery.id, delivery.state) == (
        "mail", "shop", "<m1@site.example>", "waiting")  # fmt: skip
    (news,) = read(delivery, mail())
    assert (news.title, news.body, news.by) == ("Totals are off", "by a cent", "mira@site.example")
    assert news.key == "mail:<m1@site.example>"


@pytest.mark.parametrize(
    ("headers", "repo"),
    [
        ({"To": "factory+BILL-ING@box.example"}, "Bill-ing"),
        ({"To": "factory@box.example", "Subject": "Re: Fwd: [shop] Totals are off"}, "shop"),
        ({"X_Factory_Repository": "Bill-ing"}, "Bill-ing"),
        ({"To": "a@b.example", "Cc": "x@b.example, factory+shop@box.example"}, "shop"),
        ({"To": "a@b.example", "Delivered_To": "factory+shop@box.example"}, "shop"),
        ({"To": "factory+nope@box.example", "Subject": "[shop] Totals are off"}, "shop"),
    ],
)  # fmt: skip
def test_address_header_or_subject_say_which_repository(headers: dict[str, str], repo: str) -> None:
    raw = mail(**headers)
    assert taken(raw).repo == repo and taken(raw).state == "waiting"
    assert read(taken(raw), raw)[0].title == "Totals are off"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"From": "mira@elsewhere.example"}, "does not name mira@elsewhere.example"),
        ({"From": '"mira@site.example" <eve@elsewhere.example>'}, "does not name eve@"),
        ({"From": "mira@site.example, eve@elsewhere.example"}, "exactly one author"),
        ({"From": ""}, "exactly one author"),
        ({"To": "factory@box.example"}, "names no repository"),
    ],
)  # fmt: skip
def test_who_may_not_write_or_names_no_repository_is_refused_with_the_reason(headers: dict[str, str], why: str) -> None:
    delivery = taken(mail(**headers))
    assert delivery.state == "refused" and why in delivery.why


def test_nobody_may_write_until_somebody_is_named() -> None:
    assert receive(mail(), 9, (), KNOWN).state == "refused"


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"}, {"Auto_Submitted": "auto-generated; x=y"}, {"Precedence": "BULK"},
        {"Precedence": "list"}, {"List_Id": "<l.site.example>"}, {"X_Autoreply": "yes"}, {"Return_Path": "<>"},
        {"From": "MAILER-DAEMON@site.example"}, {"X_Loop": "box"},
    ],
)  # fmt: skip
def test_mails_of_machines_are_ignored_so_that_none_comes_back_for_ever(
    headers: dict[str, str],
) -> None:
    raw = mail(**headers)
    delivery = taken(raw)
    assert delivery.state == "ignored" and "machine" in delivery.why
    assert read(delivery, raw) == ()
    assert taken(mail(Auto_Submitted="no")).state == "waiting"


@pytest.mark.parametrize(
    ("charset", "content", "words"),
    [
        ("latin-1", "Größe".encode("latin-1"), "Größe"), ("utf-8", "Größe".encode(), "Größe"),
        ("", "Größe".encode("cp1252"), "Größe"), ("nonsense-9", "Größe".encode(), "Größe"),
        ("utf-16", "Größe".encode("utf-16"), "Größe"), ("rot13", b"abc", "abc"), ("idna", b"xn--a-" * 9, "xn--a-" * 9),
        ("us-ascii", "Größe".encode(), "Größe"), ("iso-2022-jp", "合計".encode("iso2022_jp"), "合計"),
        ("utf-8", b"a\x00b\xff", "a\N{REPLACEMENT CHARACTER}b\xff"),
    ],
)  # fmt: skip
def test_a_text_is_read_in_its_character_set_and_in_a_likely_one_when_it_lies(
    charset: str, content: bytes, words: str
) -> None:
    kind = f"text/plain; charset={charset}" if charset else "text/plain"
    raw = b"From: mira@site.example\r\nSubject: s\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + content
    assert opened(raw).text == words


def test_headers_in_other_alphabets_and_broken_ones_become_words() -> None:
    assert opened(mail(Subject="Größe 合計")).title == "Größe 合計"
    for subject in (b"=?utf-8?q?Gr=C3=B6?=", "Grö".encode()):
        assert opened(b"From: a@b.example\nSubject: " + subject + b"\n\nx").title.startswith("Gr")
    assert opened(b"From: a@b.example\nSubject: =?bad?z?x?= [[[\n\nx").title
    assert opened(b"From: a@b.example\n\n\nThe first line\nmore").title == "The first line"


def test_a_mail_in_html_alone_is_reduced_to_its_words_and_attachments_are_listed() -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "mira@site.example", "f+shop@box.example", "s"
    message.set_content("<head><title>x</title><style>p{}</style></head><p>Totals<br>are&nbsp;off</p>"
                        "<ul><li>one<li>two</ul><script>alert(1)</script>", subtype="html")  # fmt: skip
    message.add_attachment(b"\x89PNG" * 100, maintype="image", subtype="png", filename="screen  shot.png")
    message.add_attachment("secret log", filename="log.txt")
    text = opened(message.as_bytes()).text
    assert text.startswith("Totals\nare off\n\n- one\n- two") and "alert" not in text and "secret log" not in text
    assert "- screen shot.png (image/png, 400 bytes)" in text and "log.txt (text/plain, 11 bytes)" in text


def test_of_a_mail_that_is_too_large_the_beginning_is_read() -> None:
    raw = mail("words\n" * 1000)
    delivery = taken(raw[:1000], len(raw))
    assert f"of {len(raw)} bytes, the first 1000 were kept" in read(delivery, raw[:1000])[0].body


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no headers"), (b"\n\nwords", "no headers"),
        (b"X: y\n" * 100_000 + b"\n", "headers are longer"), (b"X: " + b"a" * 500_000, "headers are longer"),
        (b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(5000)), "parts"),
        (b"Content-Type: message/rfc822\n\n" * 5000, "parts with parts"),
    ],
    ids=["empty", "bare", "many headers", "a long header", "parts in parts", "mails in mails"],
)  # fmt: skip
def test_what_is_no_mail_or_is_made_to_be_hard_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    started = time.process_time()
    delivery = taken(raw)
    assert delivery.state == "refused" and why in delivery.why
    assert time.process_time() - started < 5


def test_long_headers_and_much_html_are_taken_apart_in_no_time() -> None:
    started = time.process_time()
    assert opened(b"From: " + b"a@b.example, " * 15_000 + b"\nSubject: " + b"=?utf-8?q?a?= " * 3000 + b"\n\nx").text
    for page in ("<p", "&", "<!--", "<", "<script>", "<title>", "<svg/>", "&#" + "9" * 5000, "</", "a<b>"):
        words_of(page * (1_000_000 // len(page)))
    assert time.process_time() - started < 20


@given(st.binary(max_size=300) | st.lists(st.sampled_from([
    b"From: ", b"Subject: ", b"Content-Type: ", b"multipart/mixed; boundary=", b"text/html", b"\n", b"\n\n", b"--x",
    b"x", b"=?utf-8?b?", b"?=", b"<", b">", b"@", b"\xff", b"\x00", b'"', b";", b"charset*=", b"filename*0*=''", b"(",
]), max_size=40).map(b"".join))  # fmt: skip
def test_any_bytes_are_a_report_or_a_clear_refusal(raw: bytes) -> None:
    delivery = taken(raw)
    assert delivery.state == "waiting" or delivery.why
    try:
        for news in read(delivery, raw):
            assert news.title and news.key
            news.model_dump_json()
    except UsageError as error:
        assert error.message and error.hint
