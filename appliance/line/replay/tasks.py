"""What a replay tries, and what came of it: the nouns. Both are kept in the ledger as they are here."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field

from appliance.work import NewTest, Noun

AUTO = "auto"
"""The contender that is whatever the router chooses, in its order, as on the line."""
EARLIER = "earlier"
"""The contender that is the other one as it did before: its newest results of earlier runs."""


class Task(Noun):
    """One fault of a repository with known tests that show it, and others that are held back to judge by."""

    id: str = Field(description="P-7 for a past item W-7; M- and a digest for a slip")
    kind: Literal["past", "slip"]
    repo: str
    base: str = Field(description="the commit it starts from")
    title: str
    body: str = Field(description="the report, as a strategy is shown it")
    broken: str = Field("", description="diff that seeds the slip; empty for a past item")
    mended: str = Field("", description="diff that is known to be right; empty for a slip, whose base is right")
    tests: tuple[NewTest, ...] = Field((), description="reproduction tests of the item's plan")
    acceptance: tuple[str, ...] = Field(description="test ids that fail, and are to pass")
    why: str = Field(description="why it is in the set, for people")

    def holds_back(self, test: str) -> bool:
        """Is this test kept from contenders? One in three is, always the same ones; the acceptance tests never are."""
        return test not in self.acceptance and hashlib.sha256(f"{self.id} {test}".encode()).digest()[0] % 3 == 0


class Left(Noun):
    """What was looked at and is not in the set."""

    what: str
    why: str


class TaskSet(Noun):
    """The fixed tasks of one repository."""

    repo: str
    base: str = Field(description="the branch's commit when it was made")
    seed: int
    tasks: tuple[Task, ...]
    left: tuple[Left, ...] = ()


class Setup(Noun):
    """What decides who repairs a repository's faults, when a run began. Models are named as id:digest."""

    order: tuple[str, ...] = Field((), description="whom the router would ask, in order")
    models: tuple[str, ...] = Field((), description="every model that serves repairs")


NO_SETUP = Setup()
"""Of runs from before it was kept."""


class Tried(Noun):
    """One contender's try at one task, judged."""

    repo: str
    run: int
    task: str
    kind: str
    contender: str = Field(description="search, auto, or a model's id")
    model: str = Field("", description="which answered, as id:digest; empty for search")
    outcome: str = Field(description="plausible, ambiguous, none, refused or error")
    first: bool = Field(False, description="its first answer was right (search: its likeliest candidate)")
    selected: bool = Field(False, description="what it would have shipped is right")
    wrong: bool = Field(False, description="it would have shipped a change that the tests held back turn down")
    held: int = Field(0, description="tests held back that failed, or are new: what could show a wrong change")
    restored: bool = Field(False, description="the code is the original's again")
    tried: int = Field(0, description="different changes tested")
    found: int = Field(0, description="of these, until a search had the one it ships; 0 where nobody counted")
    calls: int = Field(0, description="answers of models")
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model_seconds: float = 0.0
    seconds: float = 0.0
    detail: str = ""
