"""The way in: who sent a message, is that so, and what does it say."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from appliance.errors import UsageError, VerificationFailed
from appliance.intake import alertmanager, files, forgejo, generic, gitea, github, gitlab, mail
from appliance.intake.fields import Fields, parse
from appliance.intake.generic import Places
from appliance.intake.signatures import Headers, out_of_time
from appliance.news import Delivery, DeliveryState, News

POLLED = "poll"
"""Source of what the box heard by asking the forge itself: nobody can send it."""

HEARD: TypeAdapter[tuple[News, ...]] = TypeAdapter(tuple[News, ...])

LONGEST_NAME = 200
"""Characters of a delivery's id, of an event's name and of a header that is kept."""

UNSIGNED = ("the signature is missing or wrong", "give the sender the repository's hook secret")
"""What is said to whoever shows no secret that counts, and what to do about it."""

MOST_NEWS = 500
"""Things one message may tell."""

KEPT_HEADERS = re.compile(
    r"content-type|user-agent|date|idempotency-key|x-(event|delivery|request-id)|webhook-(id|timestamp)"
    r"|x-(github|gitea|gogs|forgejo|gitlab)-(event|event-type|event-uuid|delivery|hook-id|webhook-uuid|instance)"
)
"""Headers kept with a message: those that say what it is. None that could hold a secret or a signature."""


@dataclass(frozen=True)
class Sender:
    """What there is to know of one kind of sender."""

    recognise: Callable[[Headers], tuple[str, str] | None]
    verify: Callable[[Headers, bytes, Sequence[str]], bool]
    read: Callable[[str, Fields], tuple[News, ...]]


SENDERS: Mapping[str, Sender] = {
    "forgejo": Sender(forgejo.recognise, forgejo.verify, forgejo.read),
    "gitea": Sender(gitea.recognise, gitea.verify, gitea.read),
    "gitlab": Sender(gitlab.recognise, gitlab.verify, gitlab.read),
    "github": Sender(github.recognise, github.verify, github.read),
    "alertmanager": Sender(alertmanager.recognise, alertmanager.verify, alertmanager.read),
    "generic": Sender(generic.recognise, generic.verify, lambda _event, body: generic.read(body, {})),
}
"""By source, in the order in which they are looked for: Forgejo also sends the headers of Gitea, and both GitHub's."""


def receive(
    source: str, repo: str, headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: datetime,
    clock_minutes: float, form: bytes = b"",
) -> Delivery:  # fmt: skip
    """The delivery that a message is, once its sender is known to hold the repository's secret.

    A sender that does not name its delivery gets the body's SHA-256 for a name. `form` is what the body came in, if it
    did: GitHub signs that, Gitea the body. One that is signed for another time than `now`, by more than
    `clock_minutes`, is refused, and kept with the reason: its sender holds the secret.

    Raises:
        UsageError: there is no such source, or the message is from another kind of sender.
        VerificationFailed: the signature is missing or wrong.
    """
    sender = _sender(source)
    small = {name.lower(): value for name, value in headers.items()}
    if not (sender.verify(small, body, secrets) or (form and sender.verify(small, form, secrets))):
        raise VerificationFailed(*UNSIGNED)
    known = sender.recognise(small)
    if known is None:
        raise UsageError(f"the message is not from {source}", f"it seems to be from {_seems(small)}")
    event, id = known
    sha256 = hashlib.sha256(body).hexdigest()
    delivery = Delivery(
        source=source, repo=repo, id=(id or sha256)[:LONGEST_NAME], event=event[:LONGEST_NAME], size=len(body),
        sha256=sha256, headers=kept_headers(small),
    )  # fmt: skip
    late = out_of_time(small, now, clock_minutes)
    return delivery.with_(state=DeliveryState.REFUSED, why=late) if late else delivery


def kept_headers(headers: Headers) -> dict[str, str]:
    """Those worth keeping, each as one short line."""
    return {
        name: " ".join(value.split())[:LONGEST_NAME]
        for name, value in sorted(headers.items())
        if KEPT_HEADERS.fullmatch(name)
    }


def polled(repo: str, forge: str, cursor: str, news: Sequence[News]) -> tuple[Delivery, bytes]:
    """What a forge was heard to say, as a delivery with its bytes. The same news from the same cursor is the same."""
    raw = HEARD.dump_json(tuple(news))
    sha256 = hashlib.sha256(raw).hexdigest()
    id = hashlib.sha256(cursor.encode() + b"\0" + raw).hexdigest()
    return Delivery(source=POLLED, repo=repo, id=id, event=forge, size=len(raw), sha256=sha256), raw


def read(delivery: Delivery, raw: bytes, mapping: Places | None = None) -> tuple[News, ...]:
    """What a kept message says, as of when it came; nothing for an event nobody acts on. `mapping` is the repository's,
    for any JSON.

    Raises:
        UsageError: the message makes no sense; its text is the reason to show.
    """
    if delivery.source == POLLED:
        try:
            return HEARD.validate_json(raw)
        except ValidationError as error:
            raise UsageError(
                f"what was polled cannot be read: {error.error_count()} fields", "it is polled again"
            ) from error
    news = _told(delivery, raw, mapping or {})
    if len(news) > MOST_NEWS and delivery.event != files.TABLE:  # a table has a limit of its own
        raise UsageError(f"the message tells {len(news)} things", f"send at most {MOST_NEWS} in one message")
    return tuple(one.with_(at=delivery.received) for one in news)


def _told(delivery: Delivery, raw: bytes, mapping: Places) -> tuple[News, ...]:
    if delivery.source == "generic":
        return generic.read(parse(raw), mapping)
    if delivery.source == "mail":
        return mail.read(delivery, raw)
    if delivery.source == "folder":
        return files.read(delivery, raw, mapping)
    return _sender(delivery.source).read(delivery.event, parse(raw))


def _sender(source: str) -> Sender:
    if source not in SENDERS:
        raise UsageError(f"there is no source {source!r}", f"known: {', '.join(sorted(SENDERS))}")
    return SENDERS[source]


def _seems(headers: Headers) -> str:
    named = [
        name
        for name, sender in SENDERS.items()
        if name not in ("alertmanager", "generic") and sender.recognise(headers)
    ]
    return named[0] if named else "nobody the box knows"
