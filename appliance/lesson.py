"""What the box remembers of its work: lessons, where they hold, where they come from, and what came of using them.

A lesson's life is a table of legal moves. `rule` is the box itself, `person` somebody by name (`person:ada`)::

    from       to         who     when
    –          proposed   rule    a person turned a change down or asked for another, a scanner stopped one, it broke
                                  other tests, it was reverted
    –          confirmed  person  written down by hand
    proposed   confirmed  both    used and followed by success often enough; or a person says so
    proposed   decayed    rule    unused for long, contradicted, or the code it is about is gone
    proposed   retired    person
    confirmed  decayed    rule    as above
    confirmed  retired    person
    decayed    proposed   rule    the same was learned again
    decayed    confirmed  person
    decayed    retired    person
    retired    confirmed  person

A proposed lesson is used in the repository it was learned in, a confirmed one wherever its scope reaches; the others
nowhere. Its text is data from people and tools: one line, short, without secrets, and never an instruction.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field, field_validator

from appliance.errors import Conflict
from appliance.secrets import redact
from appliance.work import Noun, utcnow

LONGEST = 600
"""Characters of a lesson's text."""
MOST_EVIDENCE = 20
"""Pieces of evidence a lesson keeps; the newest."""
ENOUGH = 10
"""Outcomes with a lesson, and as many without it, below which nothing is said about its effect."""


class LessonState(StrEnum):
    """Where a lesson is in its life."""

    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    DECAYED = "decayed"
    RETIRED = "retired"


RULE, PERSON = "rule", "person"

MOVES: Mapping[tuple[LessonState, LessonState], frozenset[str]] = {
    (LessonState.PROPOSED, LessonState.CONFIRMED): frozenset({RULE, PERSON}),
    (LessonState.PROPOSED, LessonState.DECAYED): frozenset({RULE}),
    (LessonState.PROPOSED, LessonState.RETIRED): frozenset({PERSON}),
    (LessonState.CONFIRMED, LessonState.DECAYED): frozenset({RULE}),
    (LessonState.CONFIRMED, LessonState.RETIRED): frozenset({PERSON}),
    (LessonState.DECAYED, LessonState.PROPOSED): frozenset({RULE}),
    (LessonState.DECAYED, LessonState.CONFIRMED): frozenset({PERSON}),
    (LessonState.DECAYED, LessonState.RETIRED): frozenset({PERSON}),
    (LessonState.RETIRED, LessonState.CONFIRMED): frozenset({PERSON}),
}
"""(from, to) → who may move it."""


class Source(StrEnum):
    """What taught a lesson."""

    REVIEW = "review"
    FINDING = "finding"
    ATTEMPT = "attempt"
    INCIDENT = "incident"
    REJECTION = "rejection"
    CORRECTION = "correction"
    REVERT = "revert"
    HAND = "hand"


class Scope(Noun):
    """Where a lesson holds. An empty field sets no limit."""

    repo: str = Field("", max_length=64, description="one repository; empty: all of the box")
    path: str = Field("", max_length=300, description="glob over paths the work touches, like shop/rates.py or shop/*")
    language: str = Field("", max_length=40, description="like python")
    stage: str = Field("", max_length=20, description="build or review: whose prompt it may enter")
    role: str = Field("", max_length=40, description="builder or reviewer: who is told")

    @field_validator("*")
    @classmethod
    def _is_one_line(cls, value: str) -> str:
        return one_line(value)

    def touches(self, paths: Iterable[str]) -> bool:
        """Does its glob match one of these paths? Never when it names no path."""
        return bool(self.path) and any(fnmatchcase(path, self.path) for path in paths)

    def in_words(self) -> str:
        """For people.

        >>> Scope(repo="shop", path="shop/rates.py").in_words()
        'shop, shop/rates.py'
        """
        said = (self.repo or "all repositories", self.path, self.language, self.stage, self.role)
        return ", ".join(part for part in said if part)


class Evidence(Noun):
    """One thing that happened which taught the lesson."""

    repo: str = ""
    item: str = ""
    event: int = Field(0, description="number in the ledger of the event that ended the stage; 0 for none")
    commit: str = ""
    path: str = Field("", description="the place, where it is one")


class Lesson(Noun):
    """Something worth knowing next time."""

    id: str = Field("", description="L-1, L-2 …; the ledger gives it")
    text: str
    scope: Scope = Scope()
    state: LessonState = LessonState.PROPOSED
    source: Source = Source.HAND
    home: str = Field("", description="repository it was learned in; while proposed it is used there alone")
    evidence: tuple[Evidence, ...] = ()
    support: int = Field(1, ge=1, description="how often it was learned")
    why: str = Field("", description="why it is in its state, in words")
    by: str = Field(RULE, description="who brought it there: rule, or person:<name>")
    created: datetime = Field(default_factory=utcnow)
    changed: datetime = Field(default_factory=utcnow, description="last move, edit or new evidence")
    used: datetime | None = Field(None, description="last time a prompt had it")

    @field_validator("text")
    @classmethod
    def _is_clean(cls, text: str) -> str:
        clean = one_line(redact(text)[0])
        if not clean:
            raise ValueError("a lesson needs words")
        return shortened(clean)

    @field_validator("why")
    @classmethod
    def _is_short(cls, why: str) -> str:
        return shortened(one_line(redact(why)[0]))

    @property
    def key(self) -> str:
        """The same for what says the same of the same place: such lessons are one."""
        words = " ".join(self.text.casefold().split())
        return hashlib.sha256(f"{self.source}\0{words}\0{self.scope.model_dump_json()}".encode()).hexdigest()

    def moved(self, to: LessonState, by: str, why: str, at: datetime) -> Lesson:
        """The lesson after a move. Raises Conflict when its life knows no such move."""
        allowed = MOVES.get((self.state, to), frozenset())
        if by.partition(":")[0] not in allowed:
            legal = sorted(
                str(after) for (before, after), who in MOVES.items() if before is self.state and PERSON in who
            )
            raise Conflict(
                f"{self.id} is {self.state}: it cannot become {to}", f"a person may make it {' or '.join(legal)}"
            )
        return self.with_(state=to, by=by, why=why, changed=at)

    def seen_again(self, other: Lesson, at: datetime) -> Lesson:
        """The lesson with the evidence of another that says the same; a decayed one lives again."""
        evidence = (*self.evidence, *(one for one in other.evidence if one not in self.evidence))[-MOST_EVIDENCE:]
        more = self.with_(evidence=evidence, support=self.support + 1, changed=at)
        return (
            more.moved(LessonState.PROPOSED, RULE, "learned again", at) if self.state is LessonState.DECAYED else more
        )

    def learned_from(self, item: str) -> bool:
        """Is this item among its evidence?"""
        return any(one.item == item for one in self.evidence)


class Situation(Noun):
    """What a prompt is about, for which lessons are looked for."""

    repo: str
    stage: str
    role: str
    language: str = Field("", description="of these places; empty where nothing tells it: then every language fits")
    paths: tuple[str, ...] = Field((), description="places the work touches or suspects")
    words: str = Field("", description="what it is about: report, diff")


class Recalled(Noun):
    """A lesson that fits a situation."""

    lesson: Lesson
    rank: int = Field(description="1 is the best")
    score: float
    how: str = Field(description="by what it was found: path, words, meaning")


class Use(Noun):
    """One lesson in the prompt of one stage of an item."""

    lesson: str
    item: str = ""
    round: int = 1
    stage: str
    role: str
    rank: int
    score: float
    how: str
    at: datetime = Field(default_factory=utcnow)
    came_of: str = Field("", description="empty while open: held, pushed, refused, reverted, repeated, dropped")


HELD, PUSHED, REFUSED, REVERTED, REPEATED, DROPPED = "held", "pushed", "refused", "reverted", "repeated", "dropped"
"""What can come of a use: the change held, a person pushed to it, a person refused it, it was reverted, it failed in
the very way the lesson warned of, or the item ended without saying anything."""
TELLING = frozenset({HELD, PUSHED, REFUSED, REVERTED, REPEATED})
"""Outcomes that say something of the work."""


class Learned(Noun):
    """What the end of one stage, or a command, teaches. The ledger keeps it in the same transaction."""

    proposals: tuple[Lesson, ...] = ()
    uses: tuple[Use, ...] = ()
    came_of: str = Field("", description="what came of the item's open uses; empty while it goes on")
    successes: int = Field(2, ge=1, description="uses that held which confirm a lesson")
    failures: int = Field(3, ge=1, description="uses after which the same happened again that make it decay")


NOTHING = Learned()


def fits(lesson: Lesson, situation: Situation) -> bool:
    """May the lesson be used here at all?"""
    scope = lesson.scope
    limits = (
        (scope.repo, situation.repo), (scope.language, situation.language or scope.language),
        (scope.stage, situation.stage), (scope.role, situation.role),
    )  # fmt: skip
    if any(limit and limit != here for limit, here in limits) or (scope.path and not scope.touches(situation.paths)):
        return False
    at_home = not lesson.home or lesson.home == situation.repo
    return lesson.state is LessonState.CONFIRMED or (lesson.state is LessonState.PROPOSED and at_home)


def joined(before: str, more: str) -> str:
    """Two texts on the same matter as one, the newer one after the older; the older alone when there is no room."""
    if more.casefold() in before.casefold() or len(before) + len(more) + 8 > LONGEST:
        return before
    return f"{before} Later: {more}"


def one_line(text: str) -> str:
    """Without control characters, every run of white space one blank: a text that cannot look like two parts.

    >>> one_line("a\\n\\tb\\x00 ")
    'a b'
    """
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", " ", text).split())


def shortened(text: str, most: int = LONGEST) -> str:
    """Cut at a length, with a mark that it was."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class Effect(Noun):
    """How work ended with a lesson and without it, in its scope, since it was learned."""

    held_with: int = 0
    ended_with: int = 0
    held_without: int = 0
    ended_without: int = 0

    def in_words(self) -> str:
        """What may be said of it, and no more.

        >>> Effect(held_with=2, ended_with=2, ended_without=1).in_words()
        'too little to say: 2 outcomes with it and 1 without, and 10 of each are needed'
        """
        if min(self.ended_with, self.ended_without) < ENOUGH:
            return (
                f"too little to say: {self.ended_with} outcomes with it and {self.ended_without} without, "
                f"and {ENOUGH} of each are needed"
            )
        low, high = between(self.held_with, self.ended_with)
        low_else, high_else = between(self.held_without, self.ended_without)
        shares = (
            f"{self.held_with} of {self.ended_with} held with it ({low:.0%} to {high:.0%}), "
            f"{self.held_without} of {self.ended_without} without ({low_else:.0%} to {high_else:.0%})"
        )
        if low > high_else:
            return f"it goes with better outcomes: {shares}"
        if high < low_else:
            return f"it goes with worse outcomes: {shares}"
        return f"no difference beyond chance: {shares}"

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.model_dump(mode="json"), "says": self.in_words()}


def between(held: int, ended: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    >>> tuple(round(bound, 2) for bound in between(9, 10))
    (0.6, 0.98)
    """
    z, share = 1.96, held / ended
    middle = share + z * z / (2 * ended)
    reach = z * math.sqrt(share * (1 - share) / ended + z * z / (4 * ended * ended))
    whole = 1 + z * z / ended
    return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)


def place_of(paths: Sequence[str]) -> str:
    """A glob for where some files are: the file itself, else the folder they share; "" when they share none.

    >>> place_of(["shop/a.py"]), place_of(["shop/a.py", "shop/x/b.py"]), place_of(["a.py", "b.py"])
    ('shop/a.py', 'shop/*', '')
    """
    some = sorted(set(paths))
    if len(some) == 1:
        return glob_of(some[0])
    parts = [path.split("/")[:-1] for path in some]
    shared = []
    for names in zip(*parts, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return glob_of("/".join(shared)) + "/*" if shared else ""


def glob_of(path: str) -> str:
    """A path as a glob that matches it alone.

    >>> glob_of("a[1].py")
    'a[[]1].py'
    """
    return re.sub(r"([*?[])", r"[\1]", path)
