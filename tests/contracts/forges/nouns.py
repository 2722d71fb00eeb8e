"""What a project on a forge consists of, in nobody's words: issues, changes, comments, reviews, and what happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Literal

ZERO = "0" * 40
Kind = Literal["issue", "change"]
Verdict = Literal["approved", "changes", "commented"]
Right = Literal["none", "read", "write", "admin"]


def now() -> str:
    """UTC to the microsecond: what happens within a second still has an order."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Refused(Exception):
    """What the project does not allow: style, head, approvals, changes, conflict, behind, closed, draft, exists, none,
    rights."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class Token:
    """Whose it is, and what it may be used for, in the forge's own words."""

    login: str
    scopes: frozenset[str]


@dataclass
class Thread:
    """What an issue and a change have in common."""

    number: int
    by: str
    title: str
    body: str = ""
    open: bool = True
    labels: list[str] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)
    closed: str = ""
    closed_by: str = ""


@dataclass
class Issue(Thread):
    kind: ClassVar[Kind] = "issue"


@dataclass
class Change(Thread):
    """A merge or pull request. Once it is no longer open, `head` says where its branch stood."""

    kind: ClassVar[Kind] = "change"
    branch: str = ""
    target: str = "main"
    draft: bool = False
    head: str = ""
    base: str = ""
    merged: str = ""
    merged_by: str = ""
    style: str = ""


@dataclass
class Comment:
    id: int
    kind: Kind
    number: int
    by: str
    text: str
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)


@dataclass
class Line:
    """A comment beside a line of the new side of a change."""

    id: int
    path: str
    line: int
    text: str
    by: str
    commit: str


@dataclass
class Review:
    """One person's word on a change at a commit. `official`: its author may write, so that it counts."""

    id: int
    number: int
    by: str
    verdict: Verdict
    commit: str
    text: str = ""
    official: bool = True
    dismissed: bool = False
    lines: list[Line] = field(default_factory=list)
    at: str = field(default_factory=now)


@dataclass
class Status:
    commit: str
    gate: str
    state: str
    text: str
    url: str
    by: str


@dataclass
class Push:
    branch: str
    before: str
    after: str


@dataclass
class Happened:
    """One thing that happened. `action`, by `about`:

    Issue: opened, edited, closed, reopened, labelled, unlabelled, assigned, unassigned. Comment: created, edited.
    Change: opened, edited, closed, reopened, merged, pushed, assigned, labelled …. Review: submitted, dismissed.
    Status and Push: made. `extra` is the label or the login that it is about.
    """

    by: str
    action: str
    about: Issue | Change | Comment | Review | Status | Push
    extra: str = ""
