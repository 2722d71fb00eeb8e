"""What news ask of the box: which issues are handed to it, which words are commands, which branch is whose. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from appliance.news import CommentNews, Delivery, DeliveryState, IssueNews, News, PipelineNews, ReviewNews
from appliance.work import ENDED, Kind, Noun, Signal, State, TrackedRepository, WorkItem

COMMAND = re.compile(r"^/factory[ \t]+(fix|stop|explain)\b[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)
FENCED = re.compile(r"^(```|~~~).*?(^\1|\Z)", re.DOTALL | re.MULTILINE)
MARK = "<!-- factory:"
"""How everything begins that the box writes (appliance/mirror/forges/words.py)."""

BRANCH = re.compile(r"factory/(W-\d{1,18})(?:-\d+)?(?:-revert)?")

COMMANDS_PER_HOUR = 20
"""What one item takes from a forge's comments and reviews: more is two programs talking to each other."""
COMMANDED = "told by "
"""How the settling of a delivery begins that was a command."""

LABELS_BY_RIGHT = frozenset({"gitea", "forgejo"})
"""Forges where only people with the right set labels and assignees; elsewhere anybody who opens an issue may, or its
template does so for them."""


class Asked(Noun):
    """A command in a comment."""

    word: Literal["fix", "stop", "explain"]
    text: str = ""


def asked_in(text: str) -> Asked | None:
    """The first command that stands at the beginning of a line, outside of code.

    >>> asked_in("Thanks.\\n/factory fix the first one\\n"), asked_in("> /factory stop")
    (Asked(word='fix', text='the first one'), None)
    """
    found = COMMAND.search(FENCED.sub("", text.replace("\r\n", "\n")))
    return Asked.model_validate({"word": found.group(1).lower(), "text": found.group(2).strip()}) if found else None


def own_deed(news: News, account: str) -> str:
    """Why news are the box's own doing; "" when they are not."""
    if account and news.by.lower() == account.lower():
        return f"the box did it itself ({news.by} is its account)"
    if isinstance(news, CommentNews | ReviewNews) and news.text.lstrip().startswith(MARK):
        return "the box wrote it itself: it carries the box's mark"
    if isinstance(news, PipelineNews) and news.name.startswith("factory/"):
        return "the box set this status itself"
    return ""


def handed_over(news: IssueNews, tracked: TrackedRepository, account: str) -> str:
    """By what an open issue is the box's to work on; "" when it is not."""
    if tracked.label and tracked.label in news.labels:
        return f"the label {tracked.label!r}"
    if account and account.lower() in {login.lower() for login in news.assignees}:
        return f"its assignment to {account}"
    return "being an issue" if tracked.every_issue else ""


def who_handed_over(news: IssueNews, tracked: TrackedRepository, account: str) -> str:
    """Whose right decides whether the issue counts as handed over; "" when the forge saw to that."""
    if tracked.every_issue or tracked.forge == "plain":  # a plain server knows no rights: its hook's secret vouches
        return ""
    this = not news.added or tracked.label in news.added or account.lower() in {one.lower() for one in news.added}
    if news.action in ("labelled", "assigned") and news.by and this:
        return news.by
    opener = news.author or (news.by if news.action == "opened" else "")
    return "" if tracked.forge in LABELS_BY_RIGHT else opener or "nobody it names"


def source_of(delivery: Delivery, tracked: TrackedRepository) -> str:
    """Where a signal comes from, as it is noted."""
    return f"poll:{tracked.forge}" if delivery.source == "poll" else f"hook:{delivery.source}"


def issue_key(number: str) -> str:
    """The key under which an issue is filed."""
    return f"issue:{number}"


def issue_signal(news: IssueNews | CommentNews, repo: str, source: str) -> Signal:
    """An issue as a signal."""
    return Signal(
        id="", repo=repo, title=news.title, body=news.body, source=source, author=news.author, origin=news.origin,
        key=issue_key(news.origin.number),
    )  # fmt: skip


def with_issue(news: CommentNews, told: Iterable[News]) -> CommentNews:
    """A comment with the words of its issue, when another of the news told together has them."""
    for other in told:
        same = isinstance(other, IssueNews) and other.origin.number == news.origin.number
        if same and isinstance(other, IssueNews) and not news.title:
            return news.with_(title=other.title, body=other.body, author=other.author)
    return news


def pipeline_key(news: PipelineNews) -> str:
    """How the signals of one pipeline's failures begin."""
    return f"pipeline:{news.name[:80]}:"


def pipeline_signal(news: PipelineNews, repo: str, source: str, after: str) -> Signal:
    """A pipeline that fails on the branch everybody builds on."""
    told = [news.text, f"On {news.branch} at {news.commit[:12]}.", news.url]
    told += [f"It is the first one after {after} landed there."] if after else []
    return Signal(
        id="", repo=repo, title=f"The pipeline {news.name} fails on {news.branch}", kind=Kind.INCIDENT, source=source,
        body="\n".join(line for line in told if line), author=news.by, key=f"{pipeline_key(news)}{news.commit}",
    )  # fmt: skip


def branches_of(item: WorkItem) -> frozenset[str]:
    """The branches that are the item's now."""
    names = {item.change.branch if item.change else "", item.proposal.branch if item.proposal else ""}
    names |= {item.release.branch, f"{item.release.branch}-revert"} if item.release else set()
    return frozenset(names - {""})


def spent(done: Iterable[Delivery], item: str, now: datetime) -> bool:
    """Has the item been told enough for an hour?"""
    since = now - timedelta(hours=1)
    commands = [one for one in done if one.item == item and one.received > since and one.why.startswith(COMMANDED)]
    return sum(one.state is DeliveryState.DONE for one in commands) >= COMMANDS_PER_HOUR


def verb_of(asked: Asked, item: WorkItem) -> tuple[str, str]:
    """The command that a comment's word is for an item as it stands, and else why it is none."""
    if asked.word == "stop":
        over = item.state in ENDED or item.state in (State.SHIPPED, State.MONITORED)
        return ("", f"{item.id} is {item.state}: there is nothing to stop") if over else ("cancel", "")
    if item.state is State.NEEDS_HUMAN:
        return ("answer" if asked.text else "retry"), ""
    if item.state in (State.REJECTED, State.CANCELLED, State.FAILED, State.ROLLED_BACK):
        return "retry", ""
    return "", f"{item.id} is {item.state}: there is nothing to start"
