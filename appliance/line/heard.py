"""What is done about news of one repository: signals are filed, items steered, in the name of who said it there.

Only people who may write to the project steer (`Forge.rights`); when the forge does not answer, nothing is done and the
news wait. What the box did itself is ignored, so that it can never answer itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from appliance.errors import NotFound, Unavailable
from appliance.ledger import Ledger
from appliance.line import steering
from appliance.line.commands import ON_THE_FORGE, Observed
from appliance.line.steering import Asked
from appliance.news import (
    ChangeNews,
    CommentNews,
    Delivery,
    DeliveryState,
    IssueNews,
    News,
    PipelineNews,
    PushNews,
    ReportNews,
    ReviewNews,
)
from appliance.ports import Draft, Forge, Rights
from appliance.work import ENDED, Origin, Signal, State, TrackedRepository, WorkItem

LOOK_BACK = timedelta(minutes=5)
"""How far before a message came its sender may have done what it tells of; its clock may differ, too."""
CLOCKS = timedelta(seconds=5)
"""How far a forge's clock may be behind the box's; its times are whole seconds."""


class Later(Unavailable):
    """News that cannot be acted on yet."""


@dataclass(frozen=True)
class Settled:
    """What came of one piece of news."""

    state: DeliveryState
    why: str
    signal: str = ""
    item: str = ""


def ignored(why: str, item: str = "") -> Settled:
    """Understood, and nothing to do."""
    return Settled(DeliveryState.IGNORED, why, item=item)


def refused(why: str, item: str = "") -> Settled:
    """Its sender may not."""
    return Settled(DeliveryState.REFUSED, why, item=item)


def done(why: str, signal: str = "", item: str = "") -> Settled:
    """Acted on."""
    return Settled(DeliveryState.DONE, why, signal, item)


@dataclass(frozen=True)
class Hearing:
    """The news of one delivery, before the ledger and the forge of its repository."""

    ledger: Ledger
    forge_of: Callable[[TrackedRepository], Forge]
    tracked: TrackedRepository
    delivery: Delivery
    told: tuple[News, ...]
    fetch: Callable[[TrackedRepository], object]
    explain: Callable[[WorkItem], str]

    def settle(self, news: News) -> Settled:
        """Act on one piece of news. Raises Later, and whatever the forge raises: then it is tried again."""
        if isinstance(news, ReportNews):
            return self.report(news)
        if isinstance(news, PushNews):
            self.fetch(self.tracked)
        if own := steering.own_deed(news, self.forge.account):
            return ignored(own)
        match news:
            case IssueNews():
                return self.issue(news)
            case CommentNews():
                return self.comment(steering.with_issue(news, self.told))
            case ReviewNews():
                return self.review(news)
            case ChangeNews():
                return self.change(news)
            case PipelineNews():
                return self.pipeline(news)
            case PushNews():
                return self.push(news)

    def report(self, news: ReportNews) -> Settled:
        """An alert, a mail, a row."""
        if news.resolved:
            return ignored("its sender says that it is over")
        signal = news.as_signal(self.tracked.name, self.source)
        known = self.ledger.signal_of_key(signal.repo, signal.key)  # thousands of rows after a kill: no write for each
        filed = known[0].id if known else self.ledger.receive(signal).id
        return done(f"filed as {filed}", filed)

    def issue(self, news: IssueNews) -> Settled:
        """An issue that is handed to the box."""
        if not news.open:
            return self.closed(news)
        by_what = steering.handed_over(news, self.tracked, self.forge.account)
        if not by_what:
            return ignored(f"the issue does not carry the label {self.tracked.label!r}")
        who = steering.who_handed_over(news, self.tracked, self.forge.account)
        if self.filed(news.origin) is None and who and not self.may_steer(who):
            return refused(f"{who} may not write to the project; somebody who may can write `/factory fix` there")
        signal = self.ledger.receive(steering.issue_signal(news, self.tracked.name, self.source)).id
        return done(f"filed as {signal}, by {by_what}", signal)

    def closed(self, news: IssueNews) -> Settled:
        """An issue is closed there, by somebody whom the forge lets close it: nobody needs its item any more.

        A webhook says that it was closed just now; a poll, that it is. So each closing counts once, by its time:
        whoever starts the item again after it, on the box or with `/factory fix`, knew of it."""
        item, filed = self.item_of(news.origin, ""), self.filed(news.origin)
        if item is None or filed is None:
            return ignored("the issue is closed, and the box is not at work on it")
        name = f"closed:{int(news.closed.timestamp())}" if news.closed else ""
        if news.action != "closed" and (not news.closed or news.closed < filed[0].created - CLOCKS):
            return ignored(f"the issue was closed before the box took {item.id} up", item.id)
        if name and self.heard(item, name):
            return ignored("that the issue was closed is known", item.id)
        settled = self.stop(item, news)
        if name:
            self.note(item, name)
        return settled

    def stop(self, item: WorkItem, news: IssueNews) -> Settled:
        """Stop the item of a closed issue, if there is anything to stop. Raises Later."""
        if len(item.signals) > 1:
            return ignored(f"the issue was closed; {item.id} goes on for {len(item.signals) - 1} more signals", item.id)
        verb, why_not = steering.verb_of(Asked(word="stop"), item)
        if not verb:
            return ignored(f"the issue was closed; {why_not}", item.id)
        if item.state is State.SECURED:
            raise Later(f"{item.id} is being shipped", "it is looked at again at the stage's end")
        if self.merged(item):  # which closes the issue by itself where the request says so
            return self.look(item, "its request was merged")
        by = f"{news.by or 'somebody'}@{self.tracked.forge}"
        if not any(one.item == item.id and one.verb == verb for one in self.ledger.open_commands()):
            self.ledger.command(item.id, verb, by[:80], f"issue {news.origin.number} was closed on the forge")
        return done(f"{item.id} is stopped: its issue was closed by {by}", item=item.id)

    def merged(self, item: WorkItem) -> bool:
        """Is the item's request merged on the forge?"""
        if item.proposal is None:
            return False
        wanted = Draft(item=item.id, branch=item.proposal.branch, target=self.tracked.branch, title="", text="")
        seen = self.forge.proposal(wanted)
        return seen is not None and seen.state == "merged"

    def comment(self, news: CommentNews) -> Settled:
        """A comment, which may hold a command."""
        asked = steering.asked_in(news.text)
        if asked is None:
            return ignored("a comment without a command")
        if not self.may_steer(news.by):
            return refused(f"/factory {asked.word}: {news.by or 'nobody it names'} may not write to the project")
        item = self.item_of(news.origin, news.branch)
        if item is not None:
            return self.command(item, asked, news, f"comment:{news.id}")
        if news.origin.kind != "issue" or asked.word != "fix":
            return ignored(f"/factory {asked.word}: the box is not at work on this")
        if not news.title:
            return refused("/factory fix: the forge did not say what the issue is about; label it instead")
        signal = self.ledger.receive(steering.issue_signal(news, self.tracked.name, self.source)).id
        return done(f"filed as {signal}, by {news.by}", signal)

    def command(self, item: WorkItem, asked: Asked, news: CommentNews | ReviewNews, name: str) -> Settled:
        """Do what somebody with the right asked of an item, once."""
        if self.heard(item, name):
            return ignored(f"/factory {asked.word}: done before", item.id)
        if self.told_enough(item):
            return refused(f"{item.id} took {steering.COMMANDS_PER_HOUR} commands within an hour: no more now", item.id)
        by = f"{news.by}@{self.tracked.forge}"
        if asked.word == "explain":
            self.forge.say(news.origin, f"{item.id}:explain:{name}", self.explain(item))
        else:
            verb, why_not = steering.verb_of(asked, item)
            if not verb:
                return ignored(f"/factory {asked.word}: {why_not}", item.id)
            self.ledger.command(item.id, verb, by[:80], asked.text)
        self.note(item, name)
        return done(f"{steering.COMMANDED}{by}: /factory {asked.word}", item=item.id)

    def review(self, news: ReviewNews) -> Settled:
        """A review of the box's request: an approval lets ship look again, asked changes have it planned anew."""
        item = self.item_of(news.origin, news.branch)
        if item is None:
            return ignored("a review of somebody else's request")
        name = f"review:{fingerprint(news.by, news.verdict, news.commit, news.text)}"
        asked = steering.asked_in(news.text)
        if asked is not None:
            if not self.may_steer(news.by):
                return refused(f"/factory {asked.word}: {news.by} may not write to the project", item.id)
            return self.command(item, asked, news, name)
        if news.verdict == "commented":
            return ignored("a review without a verdict", item.id)
        if news.verdict != "changes":
            return self.look(item, f"{news.by} {news.verdict} its request")
        if not self.may_steer(news.by):
            return refused(f"changes asked, but {news.by} may not write to the project", item.id)
        if not news.text:
            news = self.with_reasons(news)
            name = f"review:{fingerprint(news.by, news.verdict, news.commit, news.text)}"
        return self.revise(item, news, name)

    def with_reasons(self, news: ReviewNews) -> ReviewNews:
        """A review with what its author wrote beside it, as the forge tells it: some webhooks bring a bare verdict."""
        since = (self.delivery.received - LOOK_BACK).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = [
            one for one in self.forge.news(since)[0]
            if isinstance(one, ReviewNews) and one.origin.number == news.origin.number
            and (one.by, one.verdict) == (news.by, news.verdict) and one.text
        ]  # fmt: skip
        return told[-1] if told else news

    def revise(self, item: WorkItem, news: ReviewNews, name: str) -> Settled:
        """Have the change planned again with the reviewer's words."""
        if item.state is State.SECURED:
            raise Later(f"{item.id} is being shipped", "it is looked at again at the stage's end")
        current = item.proposal.commit if item.proposal else ""
        if item.state is not State.NEEDS_HUMAN or item.stage != "ship" or self.heard(item, name):
            return ignored(f"changes asked of {item.id}, which is {item.state} at {item.stage}", item.id)
        if news.commit and current and news.commit != current:
            return ignored(f"changes asked of {news.commit[:12]}, and {item.id} is at {current[:12]}", item.id)
        if self.told_enough(item):
            return refused(f"{item.id} took {steering.COMMANDS_PER_HOUR} commands within an hour: no more now", item.id)
        by = f"{news.by}@{self.tracked.forge}"
        self.ledger.command(item.id, "revise", by[:80], news.text)
        self.note(item, name)
        return done(f"{steering.COMMANDED}{by}: changes asked", item=item.id)

    def change(self, news: ChangeNews) -> Settled:
        """The box's request was merged or closed by somebody."""
        item = self.item_of(news.origin, news.branch)
        if item is None or news.state == "open":
            return ignored(f"a request is {news.state}; it is nothing the box waits for")
        if news.state == "merged" or news.branch.endswith("-revert"):
            return self.look(item, f"its request was {news.state} by {news.by or 'somebody'}")
        if item.state in ENDED or item.state in (State.SHIPPED, State.MONITORED):
            return ignored(f"its request is closed, and {item.id} is {item.state}", item.id)
        if item.state is State.SECURED:
            raise Later(f"{item.id} is being shipped", "it is looked at again at the stage's end")
        wanted = Draft(item=item.id, branch=news.branch, target=self.tracked.branch, title="", text="")
        seen = self.forge.proposal(wanted)
        if seen is None or seen.state != "closed" or seen.number != news.origin.number:
            return ignored(f"an older request of {item.id} is closed, or this one is open again", item.id)
        by = f"{news.by or 'somebody'}@{self.tracked.forge}"
        self.ledger.command(item.id, "reject", by[:80], f"request {seen.number} was closed on the forge")
        return done(f"its request was closed by {by}", item=item.id)

    def pipeline(self, news: PipelineNews) -> Settled:
        """The site's own CI: about the box's change it goes into its story; about the branch it is reported once."""
        item = self.item_of(None, news.branch, news.commit)
        if item is not None and item.proposal and item.proposal.commit == news.commit and item.release is None:
            return self.observe(item, news)
        if news.outcome == "success":
            return ignored("a pipeline passed")
        if item is None and news.request:
            item = self.item_of(Origin(kind="change", number=news.request), "")
        if item is not None and item.proposal and item.proposal.number == news.request:
            return self.look(item, f"{news.name} failed where request {news.request} was tried as merged")
        if news.branch != self.tracked.branch:
            return ignored(f"a pipeline failed on {news.branch or 'a commit that is on no branch'}")
        after = self.released(news.commit)
        if after and after.state in (State.SHIPPED, State.MONITORED):
            raise Later(f"{after.id} landed with this commit and is being monitored", "it is settled after that")
        if after and after.state is State.ROLLED_BACK:
            return ignored(f"{after.id}, which landed with this commit, was reverted", after.id)
        return self.failing(news, after.id if after else "")

    def failing(self, news: PipelineNews, after: str) -> Settled:
        """File a failing pipeline unless an open item is about it."""
        key = steering.pipeline_key(news)
        for signal, item in self.ledger.signals(self.tracked.name, limit=500):
            if signal.key.startswith(key) and (not item or self.ledger.item(item).state not in ENDED):
                return ignored(f"{signal.id} is about it already", item)
        filed = steering.pipeline_signal(news, self.tracked.name, self.source, after)
        signal_id = self.ledger.receive(filed).id
        return done(f"filed as {signal_id}", signal_id)

    def observe(self, item: WorkItem, news: PipelineNews) -> Settled:
        """A pipeline ended on the box's own change."""
        seen = Observed(name=news.name[:80], passed=news.outcome == "success", commit=news.commit, url=news.url[:500])
        known = [one for one in item.verdicts if one.gate == f"pipeline {seen.name}"][-1:]
        told = (seen.commit, "PASS" if seen.passed else "FAIL")
        if any((one.evidence.get("commit"), str(one.verdict)) == told for one in known) or item.state in ENDED:
            return ignored(f"{item.id} knows that the pipeline {news.name} came to {news.outcome}", item.id)
        self.ledger.command(item.id, "observe", self.tracked.forge, seen.model_dump_json())
        return done(f"the pipeline {news.name} came to {news.outcome} on {item.id}", item=item.id)

    def push(self, news: PushNews) -> Settled:
        """A branch moved: it was fetched; somebody else's push to the box's branch has ship look at it."""
        item = self.item_of(None, news.branch)
        waits = item is not None and item.state is State.NEEDS_HUMAN and item.stage in ON_THE_FORGE
        if item is None or not waits or not news.after:
            return done("a push; it is fetched at once")
        return self.look(item, f"{news.by or 'somebody'} pushed to {news.branch}")

    def look(self, item: WorkItem, why: str) -> Settled:
        """Have the waiting stage look at the forge again; wait while it runs."""
        if item.state in (State.SECURED, State.SHIPPED):
            raise Later(f"{item.id} is at {item.stage} just now", "it is looked at again at the stage's end")
        if item.state is not State.NEEDS_HUMAN or item.stage not in ON_THE_FORGE:
            return ignored(f"{why}; {item.id} is {item.state} and does not wait for that", item.id)
        if not any(one.item == item.id and one.verb == "look" for one in self.ledger.open_commands()):
            self.ledger.command(item.id, "look", self.tracked.forge, why)
        return done(f"{why}; {item.id} is looked at again", item=item.id)

    @property
    def forge(self) -> Forge:
        """The repository's forge; a report is filed without it."""
        return self.forge_of(self.tracked)

    @property
    def source(self) -> str:
        """Where signals of this delivery come from."""
        return steering.source_of(self.delivery, self.tracked)

    def may_steer(self, login: str) -> bool:
        """May this person write to the project?"""
        return bool(login) and self.forge.rights(login) in (Rights.WRITE, Rights.ADMIN)

    def item_of(self, origin: Origin | None, branch: str, commit: str = "") -> WorkItem | None:
        """The item that an issue, a request or a branch is about; None for none. Raises Later while it is opened."""
        if origin is not None and origin.kind == "issue":
            known = self.filed(origin)
            if known and not known[1]:
                raise Later(f"the item of {known[0].id} is being opened", "it is there in a moment")
            return self.ledger.item(known[1]) if known else None
        if named := steering.BRANCH.fullmatch(branch):
            try:
                item = self.ledger.item(named.group(1))
            except NotFound:
                return None
            return item if item.repo == self.tracked.name and branch in steering.branches_of(item) else None
        if branch:
            return None
        for item in self.ledger.items(self.tracked.name, limit=500):
            at = item.proposal
            if at and ((origin and at.number == origin.number) or (commit and at.commit == commit)):
                return item
        return None

    def filed(self, issue: Origin) -> tuple[Signal, str] | None:
        """The signal that an issue was filed as, and its item's id."""
        return self.ledger.signal_of_key(self.tracked.name, steering.issue_key(issue.number))

    def released(self, commit: str) -> WorkItem | None:
        """The item that brought a commit onto the branch."""
        recent = self.ledger.items(self.tracked.name, limit=200)
        return next((item for item in recent if commit and item.release and item.release.commit == commit), None)

    def told_enough(self, item: WorkItem) -> bool:
        """Has the item taken as many commands as it may within an hour?"""
        recent = self.ledger.deliveries.list(self.tracked.name, DeliveryState.DONE, limit=500)
        return steering.spent(recent, item.id, self.ledger.clock.now())

    def heard(self, item: WorkItem, name: str) -> bool:
        """Was this very comment or review acted on before? Webhooks and polls tell the same twice."""
        return f"heard:{name}"[:80] in self.ledger.forges.told(item.id)

    def note(self, item: WorkItem, name: str) -> None:
        """Remember that it was."""
        self.ledger.forges.note_told(item.id, f"heard:{name}"[:80], fingerprint(name))


def fingerprint(*words: str) -> str:
    """SHA-256 of some words."""
    return hashlib.sha256("\0".join(words).encode(errors="replace")).hexdigest()
