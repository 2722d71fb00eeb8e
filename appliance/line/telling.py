"""What the people of a forge are to be told of an item, in words. Pure; `outgoing.py` tells it.

Much of it was written by strangers or by a model. Such text goes out without secrets, names nobody (`@`), refers to no
other issue (`#7` after "fixes" would close it), and never starts a line, so that no forge takes it for a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from appliance.evidence import findings
from appliance.secrets import redact
from appliance.work import Change, Finding, Noun, Origin, Proposal, Result, State, Verdict, WorkItem

BREAK = "\u200b"
"""A space without width: it parts a sign from what it would point to, and is not seen."""

Payload = Mapping[str, Any]
"""What an event of the item says, oldest first (see appliance/events.py)."""

LONGEST_QUOTE = 2000
LONGEST_REASON = 300
"""Characters."""

IN_WORDS: Mapping[State, str] = {
    State.RECEIVED: "it was received", State.TRIAGED: "it is being reproduced",
    State.PLANNED: "a change is being built", State.BUILT: "the change is being tested",
    State.TESTED: "the change is being reviewed",
    State.REVIEWED: "the change is being scanned", State.SECURED: "the change is on its way to the branch",
    State.SHIPPED: "the change has landed and is tested there", State.MONITORED: "the change has landed and holds",
    State.CLOSED: "done", State.NEEDS_HUMAN: "it waits for a person", State.FAILED: "it failed",
    State.REJECTED: "rejected", State.CANCELLED: "stopped", State.ROLLED_BACK: "the change was taken back",
    State.DUPLICATE: "it is known already",
}  # fmt: skip

DROPPED = frozenset({State.REJECTED, State.CANCELLED, State.FAILED, State.DUPLICATE})
"""Ends that leave nothing to be merged."""
LANDED = frozenset({State.SHIPPED, State.MONITORED, State.CLOSED, State.ROLLED_BACK})
HELD = frozenset({State.MONITORED, State.CLOSED})


class Comment(Noun):
    """A comment to be there, rewritten as things go on."""

    what: str
    origin: Origin
    mark: str
    text: str


class Status(Noun):
    """A commit status to be set."""

    what: str
    commit: str
    gate: str
    verdict: Result | None
    text: str
    url: str


class Remarks(Noun):
    """Findings to be shown on their lines."""

    what: str
    proposal: Proposal
    findings: tuple[Finding, ...]


class Closing(Noun):
    """An issue to be closed."""

    what: str
    origin: Origin


class Withdrawal(Noun):
    """A request, or a branch alone, that leads to nothing any more."""

    what: str
    proposal: Proposal
    base: str
    why: str


Telling = Comment | Status | Remarks | Closing | Withdrawal


def wanted(item: WorkItem, events: Sequence[Payload], address: str, told: Iterable[str]) -> tuple[Telling, ...]:
    """All that the forge should know of an item now, each under a name of its own (`what`). `told` names what it was
    told before: what no longer holds has to be unsaid."""
    known, telling = frozenset(told), list[Telling]()
    if item.origin is not None:
        telling.append(_comment(item, "progress", item.origin, progress(item, events, address)))
        asked = question(item)
        if asked or "question" in known:
            telling.append(_comment(item, "question", item.origin, asked or "This was settled; nothing is asked now."))
    request = item.proposal if item.proposal and item.proposal.number else None
    if request:
        news = of_request(item, events)
        if news or "request" in known:
            place = Origin(kind="change", number=request.number, url=request.url)
            telling.append(_comment(item, "request", place, news or "It waits for review."))
        if proposed(item, request):
            telling += statuses(item, request, address)
            found = remarks(item)
            telling += [Remarks(what=f"findings:{request.commit[:12]}", proposal=request, findings=found)] * bool(found)
    telling += landing(item, address)
    if item.origin is not None and item.origin.kind == "issue" and item.state in HELD:
        telling.append(Closing(what="close", origin=item.origin))
    if item.proposal and item.state in DROPPED and item.plan and item.proposal.state == "open":
        why = f"{item.id}: {IN_WORDS[item.state]}. {inline(last_reason(events))}"
        telling.append(Withdrawal(what="withdrawal", proposal=item.proposal, base=item.plan.base, why=why))
    return tuple(telling)


def proposed(item: WorkItem, request: Proposal) -> bool:
    """Is the item's change what the request shows, and still open there?"""
    return item.change is not None and request.state == "open" and item.change.commit == request.commit != ""


def story(item: WorkItem, change: Change, address: str) -> str:
    """The text of the merge request: why, what, how it was tested, by whom, and where to see all of it."""
    gates = "\n".join(f"| {one.gate} | {one.verdict} | {inline(_reason(item, one))} |" for one in last_verdicts(item))
    tests = "\n".join(f"- {code(test)}" for test in (item.plan.acceptance if item.plan else ())[:20])
    files = ", ".join(code(path) for path in change.files[:10])
    why = change.message.partition("\n\n")[2]
    parts = [
        f"**Why.** {inline(item.title)}\n\n{quote(item.body)}".rstrip(),
        f"**What.** +{change.insertions} −{change.deletions} in {files}. {inline(why)}",
        f"**How it was tested.** These tests fail without it and pass with it:\n{tests}",
        f"| gate | verdict | |\n| --- | --- | --- |\n{gates}" if gates else "",
        f"**By whom.** {by_whom(item, change)}",
        f"[{item.id} in the console]({link(item, address)}) has every step. {HOW}",
        f"{'' if change.author else f'Assisted-by: {inline(change.author_model)}{chr(10)}'}Factory-Item: {item.id}",
    ]
    return "\n\n".join(part for part in parts if part)


HOW = (
    "Asking for changes has it planned again with your words; `/factory explain` and `/factory stop` in a comment do "
    "what they say."
)


def by_whom(item: WorkItem, change: Change) -> str:
    """Who made the change, and which model looked at it."""
    read = sorted({one.model for one in last_verdicts(item) if one.model})
    looked = f" Reviewed by the model {inline(', '.join(read))}." if read else ""
    if change.author:
        return f"By a person: {inline(change.author)}, handed in by {inline(item.taken_by)}.{looked}"
    name, _, version = change.author_model.partition(":")
    made = f"By search, without a model ({inline(version)})." if name == "search" else ""
    made = made or f"By the model {inline(name)}{f', weights {inline(version)}' if version else ''}."
    return f"{made}{looked} No person wrote it: please read it as you would read a stranger's."


def progress(item: WorkItem, events: Sequence[Payload], address: str) -> str:
    """Where the item is and how it came there."""
    now = IN_WORDS[item.state]
    if item.state is State.NEEDS_HUMAN and item.waiting_for:
        now += f": {inline(item.waiting_for)}"
    if item.state in DROPPED:
        now += f". {inline(last_reason(events))}"
    request = item.proposal if item.proposal and item.proposal.number else None
    see = f" Merge request {request.number}: {request.url}" if request and request.url else ""
    head = f"The factory works on this as [{item.id}]({link(item, address)}): {now}.{see}"
    return "\n".join([head, "", *steps(events)]).rstrip()


def explanation(item: WorkItem, events: Sequence[Payload], address: str) -> str:
    """All there is to say of an item, for somebody who asks."""
    attempts = [
        f"- attempt {one.n} by {inline(one.model or one.strategy)}: {one.outcome}. {inline(one.detail)}"
        for one in item.attempts
    ]
    parts = [progress(item, events, address), "\n".join(attempts)]
    parts += [story(item, item.change, address)] if item.change else []
    return "\n\n".join(part for part in parts if part)


def steps(events: Sequence[Payload]) -> list[str]:
    """The last end of each stage, in the order in which they came."""
    last: dict[str, str] = {}
    for event in events:
        if "to" in event and "stage" in event:
            stage = str(event["stage"])
            last.pop(stage, None)
            last[stage] = str(event.get("reason", ""))
    return [f"- **{stage}**: {inline(reason)}" for stage, reason in last.items()]


def question(item: WorkItem) -> str:
    """What a person of the forge can decide there; "" when nothing is asked, or a request's review decides."""
    on_the_forge = item.stage in ("ship", "monitor") and item.proposal and item.proposal.number
    if item.state is not State.NEEDS_HUMAN or on_the_forge:
        return ""
    how = "Answer with `/factory fix` and your words, or end it with `/factory stop`."
    if item.stage in ("review", "secure", "ship", "monitor"):
        how = f"This is decided on the box: `appliance item show {item.id}`. `/factory stop` ends it."
    return f"The factory asks:\n\n{quote(item.waiting_for)}\n\n{how}"


def of_request(item: WorkItem, events: Sequence[Payload]) -> str:
    """What has become of the change, for those who look at its request; "" while the request speaks for itself."""
    if item.state in LANDED and item.release:
        words = f"Landed as {item.release.commit[:12]}; {IN_WORDS[item.state]}."
        return f"{words} {inline(last_reason(events))}"
    if item.state in DROPPED:
        return ""  # the withdrawal says it
    if item.release:
        return inline(item.waiting_for)
    if item.change is None or (item.proposal and item.change.commit != item.proposal.commit):
        asks = f": {inline(item.waiting_for)}" if item.state is State.NEEDS_HUMAN else ""
        return f"It is being revised; {IN_WORDS[item.state]}{asks}."
    return inline(item.waiting_for) if item.state is State.NEEDS_HUMAN and item.stage == "ship" else ""


def statuses(item: WorkItem, request: Proposal, address: str) -> list[Telling]:
    """One for each gate that the change went through."""
    return [
        Status(
            what=f"status:{slug(one.gate)}:{request.commit[:12]}", commit=request.commit, gate=slug(one.gate),
            verdict=Result.PASS if approver(item, one) else one.verdict, text=line(_reason(item, one)),
            url=link(item, address),
        )
        for one in last_verdicts(item)
    ]  # fmt: skip


def landing(item: WorkItem, address: str) -> list[Telling]:
    """How what landed fares, as a status of the commit that is on the branch."""
    if item.release is None or item.state not in LANDED:
        return []
    result = None if item.state is State.SHIPPED else Result.PASS if item.state in HELD else Result.FAIL
    commit = item.release.commit
    return [Status(
        what=f"status:monitor:{commit[:12]}", commit=commit, gate="monitor", verdict=result, text=IN_WORDS[item.state],
        url=link(item, address),
    )]  # fmt: skip


def last_verdicts(item: WorkItem) -> list[Verdict]:
    """The newest verdict of each of the box's gates; the site's pipelines speak for themselves."""
    newest = {one.gate: one for one in item.verdicts if not one.gate.startswith("pipeline ")}
    return list(newest.values())


def approver(item: WorkItem, verdict: Verdict) -> str:
    """Who let the change go on over a verdict that is no pass; "" for nobody."""
    return "" if verdict.verdict is Result.PASS else item.approvals.get(verdict.gate.partition(" ")[0], "")


def remarks(item: WorkItem) -> tuple[Finding, ...]:
    """What the scanners hold against the change, without secrets."""
    return tuple(one.with_(message=inline(one.message)) for one in findings(item)[:50])


def last_reason(events: Sequence[Payload]) -> str:
    """Why the item is where it is."""
    told = (str(event["reason"]) for event in reversed(events) if "to" in event)
    return next(told, "")


def link(item: WorkItem, address: str) -> str:
    """The item's page."""
    return f"{address}/items/{item.id}"


def slug(gate: str) -> str:
    """A gate's name as forges take it."""
    return gate.replace(" ", "-")


def unlinked(text: str) -> str:
    """A stranger's text without secrets, that names nobody and refers to nothing; for titles and commit messages."""
    clean = re.sub(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", " ", redact(text)[0])
    return re.sub(r"(?<=@)(?=\w)|(?<=[#!&])(?=\d)|(?<=\bGH-)(?=\d)", BREAK, clean)


def inline(text: str, longest: int = LONGEST_REASON) -> str:
    """A stranger's text as part of one line of Markdown.

    >>> inline("fixes #5, @ann <b>\\n/close").replace(BREAK, "·")
    'fixes #·5, @·ann &lt;b> /close'
    """
    one = line(text, longest)
    if not paired(one):
        one = re.sub(r"\\*`", r"\\`", one)  # characters like others, so that they cannot pair with what stands around
    return without_markup(one).replace("|", "\\|")


def paired(one: str) -> bool:
    """Do a line's backticks leave no doubt what is code?"""
    return "``" not in one and "\\`" not in one and one.count("`") % 2 == 0


def without_markup(one: str) -> str:
    """A line in which nothing is HTML or a link. Code stays as it is: both are inert there, and escapes would be seen.

    >>> [without_markup(one) for one in ("`a < b` <b>", "`a < b` `<b>", "``a < b` <b>`", "[x](y) `[x](y)`")]
    ['`a < b` &lt;b>', '`a &lt; b` `&lt;b>', '``a &lt; b` &lt;b>`', '[x]\\\\(y) `[x](y)`']
    """
    parts = one.split("`") if paired(one) else [one]
    parts[::2] = [part.replace("<", "&lt;").replace("](", "]\\(") for part in parts[::2]]
    return "`".join(parts)


def line(text: str, longest: int = LONGEST_REASON) -> str:
    """A stranger's text as one line without Markdown."""
    words = " ".join(unlinked(text).split())
    return words if len(words) <= longest else f"{words[:longest]} …"


def quote(text: str) -> str:
    """A stranger's text as a quotation, which no forge takes commands from."""
    lines = unlinked(text).strip()[:LONGEST_QUOTE].splitlines()
    if all(map(paired, lines)):
        lines = [without_markup(one) for one in lines]
    else:  # code goes on over lines: what is code is not told here
        lines = [one.replace("<", "&lt;").replace("](", "]\\(") for one in lines]
    return "\n".join(f"> {one}".rstrip() for one in lines)


def code(text: str) -> str:
    """A name as code."""
    return f"`{' '.join(redact(text)[0].replace('`', ' ').split())[:LONGEST_REASON]}`"


def _comment(item: WorkItem, what: str, origin: Origin, text: str) -> Comment:
    return Comment(what=what, origin=origin, mark=f"{item.id}:{what}", text=text)


def _reason(item: WorkItem, verdict: Verdict) -> str:
    reason, who = str(verdict.evidence.get("reason", "")), approver(item, verdict)
    return f"approved by {who} over: {reason}" if who else reason
