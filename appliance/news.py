"""What the outside tells the box, in one vocabulary whichever way it came: a webhook, a poll, a mail, a file.

Readers (`appliance/intake`) and forges' adapters (`appliance/mirror/forges`) turn what they hear into `News`; the line
acts on it (`appliance/line/incoming.py`) without knowing who said it or how. An event means "go and look": news that
comes twice, late or in another order does no harm.

A `Delivery` is the raw message as it came, kept with its verdict, so that nothing is ever dropped in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from appliance.work import Kind, Noun, Origin, Signal, utcnow


class Said(Noun):
    """What all news have in common."""

    by: str = Field("", description="login of who did it there; empty when the sender does not say")
    at: datetime = Field(default_factory=utcnow)


class IssueNews(Said):
    """An issue was opened or changed. The fields say how it is now, not what changed."""

    what: Literal["issue"] = "issue"
    action: str = Field(description="opened, edited, labelled, unlabelled, assigned, unassigned, closed, reopened")
    origin: Origin
    title: str
    body: str = ""
    author: str = ""
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    added: tuple[str, ...] = Field((), description="labels or logins put there just now, where the sender says which")
    open: bool = True
    closed: datetime | None = Field(None, description="when it was closed, where the sender says so")


class CommentNews(Said):
    """Somebody wrote under an issue or a merge request."""

    what: Literal["comment"] = "comment"
    origin: Origin
    id: str = Field(description="the comment's id there")
    text: str
    branch: str = Field("", description="of the merge request it stands under, where the sender says so")
    title: str = Field(
        "", description="of the issue it stands under, where the sender says so; its text and author too"
    )
    body: str = ""
    author: str = ""


class ReviewNews(Said):
    """Somebody reviewed a merge request."""

    what: Literal["review"] = "review"
    origin: Origin
    verdict: Literal["approved", "changes", "commented", "dismissed"]
    text: str = ""
    branch: str = ""
    commit: str = Field("", description="the commit that was reviewed, where the sender says so")


class ChangeNews(Said):
    """A merge request was opened, merged or closed."""

    what: Literal["change"] = "change"
    origin: Origin
    state: Literal["open", "merged", "closed"]
    branch: str
    commit: str = Field("", description="of the merge, once merged")


class PushNews(Said):
    """A branch moved."""

    what: Literal["push"] = "push"
    branch: str
    before: str = ""
    after: str = Field("", description="empty when the branch was deleted")


class PipelineNews(Said):
    """A pipeline, workflow or commit status of the site's own CI came to an end."""

    what: Literal["pipeline"] = "pipeline"
    name: str
    outcome: Literal["success", "failure"]
    branch: str = ""
    request: str = Field("", description="number of the merge request it is about, where the sender says so")
    commit: str = ""
    url: str = ""
    text: str = ""


class ReportNews(Said):
    """An alert, a mail, a file or a row: something to be filed as a signal as it stands."""

    what: Literal["report"] = "report"
    key: str = Field(description="the sender's own name for it, for example a fingerprint; the same key is filed once")
    title: str
    body: str = ""
    kind: Kind | None = None
    resolved: bool = Field(False, description="the sender says that it is over")

    def as_signal(self, repo: str, source: str) -> Signal:
        """The signal that it is filed as."""
        return Signal(
            id="", repo=repo, title=self.title, body=self.body, kind=self.kind, source=source, author=self.by,
            key=self.key[:200],
        )  # fmt: skip


News = Annotated[
    IssueNews | CommentNews | ReviewNews | ChangeNews | PushNews | PipelineNews | ReportNews,
    Field(discriminator="what"),
]


class DeliveryState(StrEnum):
    """What became of a delivery."""

    WAITING = "waiting"
    DONE = "done"
    IGNORED = "ignored"
    """Understood, and nothing to do: an event the box caused itself, a kind nobody acts on."""
    REFUSED = "refused"
    """It makes no sense, or its sender may not; `why` says it."""


class Delivery(Noun):
    """One message from outside as it came, without its raw bytes (the ledger keeps these beside it)."""

    number: int = Field(0, description="given by the ledger")
    source: str = Field(description="gitea, forgejo, gitlab, github, poll, alertmanager, generic, mail, folder, csv")
    repo: str
    id: str = Field(description="the sender's name for this delivery; a second one of this name is a replay")
    event: str = Field("", description="what the sender calls the event")
    headers: Mapping[str, str] = Field(default_factory=dict, description="those worth keeping, never a secret")
    size: int = Field(0, description="bytes")
    sha256: str = ""
    received: datetime = Field(default_factory=utcnow)
    state: DeliveryState = DeliveryState.WAITING
    why: str = Field("", description="what came of it, in words")
    signal: str = Field("", description="the signal it was filed as")
    item: str = Field("", description="the item it steered")
