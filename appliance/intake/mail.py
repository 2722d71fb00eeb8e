"""Mails as reports: whom they are from, which repository they are about, what they say. Pure.

Nothing here answers, and mails that a machine sent by itself are ignored, so no mail can come back for ever.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser
from fnmatch import fnmatchcase
from typing import Any

from appliance.errors import UsageError
from appliance.intake.fields import LONGEST_TEXT, LONGEST_TITLE
from appliance.intake.html_text import words_of
from appliance.news import Delivery, DeliveryState, ReportNews
from appliance.work import Noun

LONGEST_HEADERS = 256 * 1024
"""Bytes before the first empty line."""
LONGEST_HEADER = 8 * 1024
"""Characters looked at of one header: taking a long one apart takes the square of its length."""
MOST_PARTS = 100
"""Parts of parts. Taking them apart is recursive."""
LONGEST_ID = 200

REPOSITORY_HEADER = "x-factory-repository"
PREFIXES = re.compile(r"^(?:\s*(?:re|fwd?|aw|wg|tr|sv)\s*:)*\s*(?:\[(?P<tag>[\w.-]{1,64})\])?\s*", re.IGNORECASE)
ADDRESS = re.compile(r"[^@\s<>,;:\"()\[\]\\]+@[A-Za-z0-9.-]+")
CHARSETS = re.compile(
    r"ascii|utf-(7|8|8-sig|16|16-le|16-be|32|32-le|32-be)|iso8859-\d+|cp\d+|koi8-[rtu]|gb2312|gbk|gb18030|big5\w*|hz"
    r"|euc[_-]\w+|shift_jis\w*|iso2022_\w+|mac-\w+|tis-620|johab|ptcp154|hp-roman8"
)
"""Character sets mails come in. Python knows others whose decoding takes the square of the length, or is none."""

FAILS = (ValueError, LookupError, AttributeError, TypeError, AssertionError, RecursionError)
"""How the library fails on headers that are none."""


class Letter(Noun):
    """One mail, taken apart."""

    id: str
    sender: str
    """Address of its one author; "" when it has none or several."""
    repositories: tuple[str, ...]
    """Names that may be a repository's, the surest first."""
    title: str
    text: str
    automatic: str
    """Why it must be a machine's; "" for a person's."""


def receive(raw: bytes, size: int, senders: Sequence[str], known: Collection[str]) -> Delivery:
    """The delivery that a mail is. `raw` may be its beginning alone, of `size` bytes. `senders` are patterns of those
    who may write, `known` the repositories there are. One that is not worked on says why."""
    sha256 = hashlib.sha256(raw).hexdigest()
    delivery = Delivery(source="mail", repo="", id=sha256, event="mail", size=size, sha256=sha256)
    try:
        letter = opened(raw)
    except UsageError as error:
        return delivery.with_(state=DeliveryState.REFUSED, why=error.message)
    names = {name.casefold(): name for name in known}
    repo = next((names[one.casefold()] for one in letter.repositories if one.casefold() in names), "")
    delivery = delivery.with_(id=letter.id or sha256, repo=repo, headers={"from": letter.sender or "nobody"})
    if letter.automatic:
        return delivery.with_(state=DeliveryState.IGNORED, why=f"a machine sent it by itself: {letter.automatic}")
    if not letter.sender:
        return delivery.with_(state=DeliveryState.REFUSED, why="it does not have exactly one author in From")
    if not any(fnmatchcase(letter.sender.casefold(), one.casefold()) for one in senders):
        return delivery.with_(state=DeliveryState.REFUSED, why=f"intake.mail_senders does not name {letter.sender}")
    if not repo:
        why = "it names no repository: not by a + in the address, not by [NAME] in the subject"
        return delivery.with_(state=DeliveryState.REFUSED, why=why)
    return delivery


def read(delivery: Delivery, raw: bytes) -> tuple[ReportNews, ...]:
    """The report that a mail is; none when a machine sent it by itself. Raises UsageError."""
    letter = opened(raw)
    if letter.automatic:
        return ()
    if not letter.title:
        raise UsageError("the mail has no subject and no text", "its sender has to write what is wrong")
    cut = f"\n\n(of {delivery.size} bytes, the first {len(raw)} were kept)" if delivery.size > len(raw) else ""
    key = f"mail:{letter.id or delivery.sha256}"
    return (ReportNews(key=key[:LONGEST_ID], title=letter.title, body=letter.text + cut, by=letter.sender),)


def opened(raw: bytes) -> Letter:
    """A mail taken apart. Raises UsageError for what is none, or is made to be hard to take apart."""
    head = re.search(rb"\r?\n\r?\n", raw[: LONGEST_HEADERS + 4])
    if head is None and len(raw) > LONGEST_HEADERS:
        raise UsageError(f"its headers are longer than {LONGEST_HEADERS} bytes", "no mail program writes such a mail")
    small = raw.lower()
    if small.count(b"multipart/") + small.count(b"message/") > MOST_PARTS:
        raise UsageError(f"it has more than {MOST_PARTS} parts with parts", "no mail program writes such a mail")
    try:
        return _taken_apart(BytesParser(policy=policy.default).parsebytes(raw))
    except FAILS as error:
        raise UsageError(f"it cannot be taken apart ({type(error).__name__})", "see the raw mail") from error


def _taken_apart(message: EmailMessage) -> Letter:
    headers = _headers(message)
    if not headers:
        raise UsageError("it is no mail: it has no headers", "give the file as the mail program saves it")
    subject = _decoded("subject", headers.get("subject", [""])[0])
    text, rest = _content(message)
    found = PREFIXES.match(subject)
    title = subject[found.end() :] if found else subject
    title = title.strip() or next((line for line in text.splitlines() if line.strip()), "")
    tag = found["tag"] if found else None
    return Letter(
        id=_short_id(headers), sender=_author(headers), title=" ".join(title.split())[:LONGEST_TITLE],
        repositories=(*_named(headers), *([tag] if tag else [])), automatic=_automatic(headers),
        text="\n\n".join(part for part in (text, rest) if part)[:LONGEST_TEXT],
    )  # fmt: skip


def _headers(message: Message) -> dict[str, list[str]]:
    """Raw values by name in small letters."""
    found: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        found.setdefault(name.lower(), []).append(str(value)[:LONGEST_HEADER])
    return found


def _clean(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _parsed(name: str, value: str) -> Any:
    try:
        return policy.default.header_fetch_parse(name, value)
    except FAILS:
        return None


def _decoded(name: str, value: str) -> str:
    """A header for people, on one line; as it stands when the library cannot take it apart."""
    parsed = _parsed(name, value)
    value = value if parsed is None else str(parsed)
    return " ".join(_clean(value).split())


def _addresses(headers: dict[str, list[str]], name: str) -> list[str]:
    found: list[str] = []
    for value in headers.get(name, ())[:8]:
        parsed = _parsed("to", value)
        found += [""] if parsed is None else [one.addr_spec for one in parsed.addresses]
    return [_clean(one) for one in found]


def _author(headers: dict[str, list[str]]) -> str:
    authors = _addresses(headers, "from")
    return authors[0] if len(authors) == 1 and ADDRESS.fullmatch(authors[0]) else ""


def _named(headers: dict[str, list[str]]) -> Iterator[str]:
    """Names that may be a repository's: of its own header, then behind a + of an address it was sent to."""
    for value in headers.get(REPOSITORY_HEADER, ())[:1]:
        yield _clean(value).strip()
    for name in ("x-original-to", "delivered-to", "to", "cc"):
        for address in _addresses(headers, name)[:50]:
            local = address.rpartition("@")[0]
            if "+" in local:
                yield local.partition("+")[2]


def _short_id(headers: dict[str, list[str]]) -> str:
    id = _clean("".join(headers.get("message-id", [""])[0].split()))
    return id if len(id) <= LONGEST_ID - len("mail:") else hashlib.sha256(id.encode()).hexdigest()


def _automatic(headers: dict[str, list[str]]) -> str:
    """What shows that no person wrote it (RFC 3834, and what was used before it)."""
    first = {name: values[0].strip().casefold() for name, values in headers.items()}
    if first.get("auto-submitted", "no").partition(";")[0].strip() != "no":
        return "Auto-Submitted"
    if first.get("precedence", "") in ("bulk", "junk", "list", "auto_reply"):
        return f"Precedence: {first['precedence']}"
    for name in ("x-autoreply", "x-autorespond", "x-loop", "list-id", "x-factory-item"):
        if name in first:
            return name.title()
    if first.get("return-path", "") == "<>" or first.get("content-type", "").startswith("multipart/report"):
        return "a report of the mail system"
    local = _author(headers).casefold().rpartition("@")[0]
    return f"written by {local}" if local in ("mailer-daemon", "postmaster") else ""


def _content(message: EmailMessage) -> tuple[str, str]:
    """The text, and a list of what is attached."""
    plain: list[str] = []
    html: list[str] = []
    attached: list[str] = []
    for part in message.walk():
        if part.is_multipart():
            continue
        name, kind = _file_name(part), part.get_content_type()
        content = part.get_payload(decode=True)
        content = content if isinstance(content, bytes) else b""
        disposition = str(dict(part.raw_items()).get("Content-Disposition", "")).strip().lower()
        if name or disposition.startswith("attachment") or kind not in ("text/plain", "text/html"):
            attached.append(f"- {name or 'without a name'} ({kind}, {len(content)} bytes)")
        elif kind == "text/plain":
            plain.append(_text(part, content))
        else:
            html.append(words_of(_text(part, content)))
    text = "\n\n".join(one.strip() for one in plain if one.strip()) or "\n\n".join(html)
    return text, "\n".join(["Attached, and left in the mail:", *attached]) if attached else ""


def _file_name(part: Message) -> str:
    try:
        return " ".join(_clean(part.get_filename() or "").split())[:200]
    except FAILS:
        return "a name that cannot be read"


def _text(part: Message, content: bytes) -> str:
    try:
        charset = codecs.lookup(part.get_content_charset() or "utf-8").name
    except FAILS:
        charset = "utf-8"
    if not CHARSETS.fullmatch(charset) or charset == "ascii":
        charset = "utf-8"
    text = content.decode(charset, "replace")
    if charset == "utf-8" and "\N{REPLACEMENT CHARACTER}" in text:
        text = content.decode("cp1252", "replace")  # what programs that name no character set mostly write
    return _clean(text.replace("\r\n", "\n"))
