"""The way in: who sent a message, is that so, and what does it say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from appliance.errors import UsageError, VerificationFailed
from appliance.intake import alertmanager, forgejo, gitea, github, gitlab
from appliance.intake.fields import Fields, parse
from appliance.intake.signatures import Headers
from appliance.news import Delivery, News

POLLED = "poll"
"""Source of what the box heard by asking the forge itself: nobody can send it."""

HEARD: TypeAdapter[tuple[News, ...]] = TypeAdapter(tuple[News, ...])

LONGEST_NAME = 200
"""Characters of a delivery's id and of an event's name."""


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
}
"""By source, in the order in which they are looked for: Forgejo also sends the headers of Gitea, and both GitHub's."""


def receive(source: str, repo: str, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Delivery:
    """The delivery that a message is, once its sender is known to hold the repository's secret.

    A sender that does not name its delivery gets the body's SHA-256 for a name. No header is kept.

    Raises:
        UsageError: there is no such source, or the message is from another kind of sender.
        VerificationFailed: the signature is missing or wrong.
    """
    sender = _sender(source)
    small = {name.lower(): value for name, value in headers.items()}
    if not sender.verify(small, body, secrets):
        raise VerificationFailed("the signature is missing or wrong", "give the sender the repository's hook secret")
    known = sender.recognise(small)
    if known is None:
        raise UsageError(f"the message is not from {source}", f"it seems to be from {_seems(small)}")
    event, id = known
    sha256 = hashlib.sha256(body).hexdigest()
    return Delivery(
        source=source, repo=repo, id=(id or sha256)[:LONGEST_NAME], event=event[:LONGEST_NAME], size=len(body),
        sha256=sha256,
    )  # fmt: skip


def polled(repo: str, forge: str, cursor: str, news: Sequence[News]) -> tuple[Delivery, bytes]:
    """What a forge was heard to say, as a delivery with its bytes. The same news from the same cursor is the same."""
    raw = HEARD.dump_json(tuple(news))
    sha256 = hashlib.sha256(raw).hexdigest()
    id = hashlib.sha256(cursor.encode() + b"\0" + raw).hexdigest()
    return Delivery(source=POLLED, repo=repo, id=id, event=forge, size=len(raw), sha256=sha256), raw


def read(delivery: Delivery, raw: bytes) -> tuple[News, ...]:
    """What a kept message says, as of when it came; nothing for an event nobody acts on.

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
    news = _sender(delivery.source).read(delivery.event, parse(raw))
    return tuple(one.with_(at=delivery.received) for one in news)


def _sender(source: str) -> Sender:
    if source not in SENDERS:
        raise UsageError(f"there is no source {source!r}", f"known: {', '.join(sorted(SENDERS))}")
    return SENDERS[source]


def _seems(headers: Headers) -> str:
    named = [name for name, sender in SENDERS.items() if name != "alertmanager" and sender.recognise(headers)]
    return named[0] if named else "nobody the box knows"
