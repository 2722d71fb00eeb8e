"""The nouns of the factory. All are frozen; a change makes a new one (`item.with_(state=…)`).

A `Signal` is what the outside world says. Triage opens a `WorkItem` from it; stages add a `Plan`, `Attempt`s, a
`Change`, `Verdict`s and at last a `Release`. Every noun turns into JSON and back (`model_dump(mode="json")`,
`model_validate`), which is how the ledger keeps it. Times are UTC; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field


class Noun(BaseModel):
    """Base of all nouns: frozen, and strict about unknown fields so that a typo cannot become data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again (unlike pydantic's `model_copy`)."""
        return type(self).model_validate({**dict(self), **changes})


class State(StrEnum):
    """Where a work item is. The first ten follow one another; the rest are exits."""

    RECEIVED = "received"
    TRIAGED = "triaged"
    PLANNED = "planned"
    BUILT = "built"
    TESTED = "tested"
    REVIEWED = "reviewed"
    SECURED = "secured"
    SHIPPED = "shipped"
    MONITORED = "monitored"
    CLOSED = "closed"
    DUPLICATE = "duplicate"
    NEEDS_HUMAN = "needs_human"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"


ENDED = frozenset({State.CLOSED, State.DUPLICATE, State.FAILED, State.REJECTED, State.CANCELLED, State.ROLLED_BACK})
"""States nothing leaves by itself. `needs_human` is a pause, not an end."""


class Kind(StrEnum):
    """What a signal asks for."""

    BUG = "bug"
    FEATURE = "feature"
    INCIDENT = "incident"
    FINDING = "finding"
    FEEDBACK = "feedback"
    REQUIREMENT = "requirement"


class Autonomy(StrEnum):
    """How far work may go without a person; see control/help/concepts.md."""

    OFF = "off"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Result(StrEnum):
    """A gate's answer. Only PASS lets a change go on; INCONCLUSIVE is what missing evidence gives."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


def utcnow() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class Origin(Noun):
    """Where on a forge something was said."""

    kind: Literal["issue", "change"] = Field("issue", description="an issue, or a merge request")
    number: str = Field(description="its number in the project, as the forge shows it")
    url: str = ""


class Proposal(Noun):
    """A change as it stands on its forge: the box's own merge request."""

    number: str
    url: str = ""
    branch: str
    commit: str = Field("", description="head of the branch as the forge sees it; of the merge once merged")
    state: Literal["open", "merged", "closed"] = "open"
    approved_by: tuple[str, ...] = Field((), description="who approved this very head, by the forge's own rules")
    changes_asked_by: tuple[str, ...] = ()
    blockers: tuple[str, ...] = Field((), description="why the forge would not merge it now, in words")


FORGES = ("plain", "gitea", "forgejo", "gitlab", "github")
"""What may serve a repository; each has an adapter in appliance/mirror/forges."""


class TrackedRepository(Noun):
    """A repository the box looks after, as `repo add` named it."""

    name: str
    url: str
    branch: str
    forge: str = "plain"
    api: str = Field("", description="address of the forge, like https://git.example; empty for a plain server")
    project: str = Field("", description="path of the project on its forge, like team/shop")
    label: str = Field("factory", description="label that hands an issue to the box; empty: none does")
    every_issue: bool = Field(False, description="every new issue is taken, not only those labelled or assigned")
    autonomy: Autonomy = Autonomy.LOW
    test: str = Field("", description="command that runs its tests; empty means pytest")
    depth: int = Field(0, description="commits of each branch that are mirrored; 0: all there are")
    lfs: bool = Field(False, description="fetch the files that Git LFS keeps beside the repository")
    mapping: Mapping[str, tuple[str, ...]] = Field({}, description="field of a report → its places (intake.generic)")


class Signal(Noun):
    """One thing the outside world said, kept as it came."""

    id: str
    repo: str
    title: str
    body: str = ""
    kind: Kind | None = Field(None, description="as the sender named it; None lets triage decide")
    source: str = Field("cli", description="cli, console, monitor, hook:<name>, poll:<forge>")
    author: str = Field("", description="who reported it, by the name the sender uses")
    origin: Origin | None = Field(None, description="the issue or merge request it comes from")
    key: str = Field("", description="the sender's own name for it; a repository files a key once. Empty: always")
    created: datetime = Field(default_factory=utcnow)


class NewTest(Noun):
    """A reproduction test that the plan wrote from the report and that ships with the fix."""

    path: str = Field(description="relative to the repository's root, POSIX")
    content: str
    origin: str = Field(description="which words of the report it comes from")


class Suspect(Noun):
    """A place in the code the plan thinks the fault may be in."""

    path: str
    line: int
    function: str = ""
    score: float = Field(description="0..1, higher is more suspicious")
    why: str = ""


class Plan(Noun):
    """What will be done and how it will be known to be done."""

    summary: str = ""
    acceptance: tuple[str, ...] = Field((), description="test ids that must pass, as pytest names them")
    files: tuple[str, ...] = ()
    tests: tuple[NewTest, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    baseline: Mapping[str, str] = Field(default_factory=dict, description="outcome of every test before the change")
    base: str = Field("", description="commit the plan was made on")
    notes: str = Field("", description="what a person wants minded, for whoever builds")
    by: str = Field("", description="the person who changed it last; empty: it is as the box made it")


class Candidate(Noun):
    """A change that passes every known test, with what speaks for it."""

    diff: str = Field(description="unified diff against the plan's base")
    files: Mapping[str, str] = Field(description="path → whole new content")
    origin: str = Field(description="template name, or model id")
    place: str = Field("", description="kind of statement that a search's edit is made in")
    found: int = Field(0, description="changes a search had tried when this one passed; 0 where nobody counted")
    weight: float = 0.0
    cluster: int = 0
    why: str = ""
    telling_input: str = Field("", description="an input on which it behaves otherwise than its rivals")


class Kept(Noun):
    """A file of evidence beside the ledger (`appliance.evidence`), and the digest it is held to."""

    file: str = Field(description="its name within the item's folder")
    sha256: str


class Attempt(Noun):
    """One try at building the change."""

    n: int
    strategy: str = Field(description="search or droid")
    model: str = ""
    outcome: str = Field(description="plausible, none, ambiguous, refused, error")
    wall_seconds: float = 0.0
    tried: int = Field(0, description="candidates validated")
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_seconds: float = Field(0.0, description="the part of the wall time in which a model was waited for")
    detail: str = ""
    sandbox: str = Field("", description="tier and limits it ran under")
    candidates: tuple[Candidate, ...] = ()
    trajectory: Kept | None = Field(None, description="a droid's steps, in the Agent Trajectory Interchange Format")


class Change(Noun):
    """The change on its way to the server."""

    branch: str
    commit: str = ""
    base: str
    diff: str
    files: tuple[str, ...] = ()
    insertions: int = 0
    deletions: int = 0
    message: str = ""
    author_model: str = Field("", description="name:version for the Assisted-by trailer")
    author: str = Field("", description="`Name <address>` of the person who made it by hand; empty: the box made it")
    at: datetime = Field(default_factory=utcnow, description="date of its commit, so that its id is always the same")


class Verdict(Noun):
    """A gate's answer with the evidence of the completed run that produced it."""

    gate: str
    verdict: Result
    evidence: Mapping[str, Any] = Field(default_factory=dict)
    model: str = ""
    at: datetime = Field(default_factory=utcnow)


class Finding(Noun):
    """Something a scanner or reviewer holds against a change."""

    rule: str
    path: str
    line: int
    message: str
    severity: str = "warning"
    tool: str = ""


class Release(Noun):
    """A change on the server's branch."""

    item: str
    repo: str
    branch: str
    commit: str
    previous: str
    at: datetime = Field(default_factory=utcnow)
    reverted_by: str = ""


class Incident(Noun):
    """Something that went wrong after a release."""

    id: str
    repo: str
    release: str
    what: str
    at: datetime = Field(default_factory=utcnow)


class MirrorHealth(Noun):
    """How a repository's mirror stands with its server."""

    fetched: datetime | None = Field(None, description="last fetch that worked")
    tried: datetime | None = Field(None, description="last fetch at all")
    next_fetch: datetime | None = Field(None, description="when it is polled again")
    changed: datetime | None = Field(None, description="last fetch that found something new")
    failures: int = Field(0, description="fetches in a row that did not work")
    error: str = Field("", description="why the last one did not, in words")
    hint: str = Field("", description="what to do about it")
    head: str = Field("", description="the branch's newest commit as the last fetch found it, without later pushes")
    branches: int = 0
    size_bytes: int = 0
    notes: tuple[str, ...] = Field((), description="what was noticed: force-pushed, renamed, re-cloned, submodules …")
    heard: datetime | None = Field(None, description="last time the forge's API told the news")
    api_failures: int = Field(0, description="times in a row that it did not")
    api_error: str = Field("", description="why the last time it did not, in words")
    api_hint: str = ""

    def lag_seconds(self, now: datetime) -> float | None:
        """For how long the server may have had what the mirror lacks; None before the first fetch."""
        return max((now - self.fetched).total_seconds(), 0.0) if self.fetched else None


class Frame(Noun):
    """One place of a traceback, in a file of the repository."""

    path: str = Field(description="relative to the repository's root, POSIX")
    line: int
    function: str = ""


class TestReport(Noun):
    """What one run of a repository's tests showed.

    `outcomes` maps a test id to passed, failed, error, skipped, xfailed or xpassed. It is empty when the test command
    is not pytest; then `exit_code` is the only evidence.
    """

    __test__ = False  # not a test class, whatever its name suggests to pytest

    outcomes: Mapping[str, str] = Field(default_factory=dict)
    messages: Mapping[str, str] = Field(default_factory=dict, description="failure text by test id, cut to 4 kB")
    frames: Mapping[str, tuple[Frame, ...]] = Field({}, description="repository's places in tracebacks, innermost last")
    exit_code: int | None = None
    timed_out: bool = False
    limit: str = Field("", description="which limit ended the run, if one did: time, memory, disk, processes, output")
    complete: bool = Field(False, description="the run reached its end and reported it")
    wall_seconds: float = 0.0
    output_tail: str = ""
    sandbox: str = ""

    def with_outcome(self, *names: str) -> tuple[str, ...]:
        """Ids of the tests that ended with one of these outcomes, sorted."""
        return tuple(sorted(t for t, outcome in self.outcomes.items() if outcome in names))

    @property
    def passed(self) -> tuple[str, ...]:
        return self.with_outcome("passed")

    @property
    def failed(self) -> tuple[str, ...]:
        return self.with_outcome("failed", "error")


class Cost(Noun):
    """What an item has used up so far."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_seconds: float = 0.0
    wall_seconds: float = 0.0

    def plus(self, **more: float) -> Cost:
        return self.with_(**{name: getattr(self, name) + value for name, value in more.items()})


class EffectiveAutonomy(Noun):
    """The autonomy in force for one item, and which cap set it."""

    effective: Autonomy = Autonomy.OFF
    why: str = "nothing set: the most restrictive level"


class WorkItem(Noun):
    """One piece of work on its way along the line."""

    id: str
    repo: str
    title: str
    body: str = ""
    state: State = State.RECEIVED
    stage: str = Field("triage", description="the stage that will run next, or that stopped")
    kind: Kind = Kind.BUG
    severity: int = Field(3, ge=1, le=4, description="1 is worst")
    signals: tuple[str, ...] = ()
    origin: Origin | None = Field(None, description="the issue or merge request that told of it")
    proposal: Proposal | None = Field(None, description="the box's merge request, as last seen")
    duplicate_of: str = ""
    plan: Plan | None = None
    attempts: tuple[Attempt, ...] = ()
    round: int = Field(1, ge=1, description="how often it set out anew after an end; each has a branch of its own")
    told_apart: tuple[str, ...] = Field((), description="items that a person says it is no duplicate of")
    taken_by: str = Field("", description="the person who makes the change by hand; empty: the line makes it")
    refused_diffs: tuple[str, ...] = Field((), description="SHA-256 of diffs that a later gate turned down")
    change: Change | None = None
    release: Release | None = None
    verdicts: tuple[Verdict, ...] = ()
    autonomy: EffectiveAutonomy = EffectiveAutonomy()
    approvals: Mapping[str, str] = Field(default_factory=dict, description="stage → the person who let it go on")
    answers: tuple[str, ...] = Field((), description="what people answered when the item asked")
    waiting_for: str = Field("", description="what a person has to decide, in words")
    lessons_used: tuple[str, ...] = ()
    cost: Cost = Cost()
    created: datetime = Field(default_factory=utcnow)
    updated: datetime = Field(default_factory=utcnow)


class Outcome(Noun):
    """What a stage returns: the item as it is now, why, and who or what decided."""

    item: WorkItem
    reason: str = Field(description="one or two sentences for people")
    by: str = Field("rule", description="rule, search, a model as id@digest, or person:<name>")
    facts: Mapping[str, Any] = Field(default_factory=dict, description="figures and evidence worth keeping")
    signals: tuple[Signal, ...] = Field((), description="what the stage wants filed, in the same transaction")
