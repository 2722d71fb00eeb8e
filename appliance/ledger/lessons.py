"""Lessons in the ledger: what is learned, used, moved and edited, each with its event in the same transaction.

`note_in` works within the transaction that records what taught them, so that a process killed at any instant leaves
both or neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, insert, select, update

from appliance.errors import Conflict, NotFound
from appliance.events import Event, Fact
from appliance.ledger import schema
from appliance.ledger.recall import Finder, indexed
from appliance.lesson import (
    HELD,
    REPEATED,
    RULE,
    Effect,
    Learned,
    Lesson,
    LessonState,
    Recalled,
    Scope,
    Situation,
    Use,
    joined,
)
from appliance.work import WorkItem

if TYPE_CHECKING:
    from appliance.ledger.store import Ledger

FACTS = {
    LessonState.PROPOSED: Fact.LESSON_PROPOSED,
    LessonState.CONFIRMED: Fact.LESSON_CONFIRMED,
    LessonState.DECAYED: Fact.LESSON_DECAYED,
    LessonState.RETIRED: Fact.LESSON_RETIRED,
}
"""Where a lesson came to → the fact that tells of it."""

ALIVE = (LessonState.PROPOSED, LessonState.CONFIRMED)


class Lessons:
    """The verbs of one ledger that are about lessons."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._finder = Finder(ledger.database)

    # --- reading

    def get(self, id: str) -> Lesson:
        """Raises NotFound."""
        with self._ledger.database.reading() as connection:
            return self._get(connection, id)

    def all(self, state: LessonState | None = None, repo: str = "", limit: int = 1000, before: int = 0) -> list[Lesson]:
        """Lessons, newest first; those of a repository are the ones that may be used there. `before`: only those with a
        smaller number; 0 for all."""
        columns = schema.lessons.c
        query = select(columns.body).where(columns.number < (before or schema.NO_END))
        query = query.order_by(columns.number.desc()).limit(limit)
        query = query.where(columns.state == str(state)) if state else query
        query = query.where(columns.repo.in_(("", repo))) if repo else query
        with self._ledger.database.reading() as connection:
            return [Lesson.model_validate_json(body) for body in connection.scalars(query)]

    def uses(self, lesson: str = "", item: str = "", limit: int = 1000) -> list[Use]:
        """Where a lesson was used, or what an item used; newest first."""
        columns = schema.lesson_uses.c
        query = select(columns.body, columns.came_of).order_by(columns.number.desc()).limit(limit)
        query = query.where(columns.lesson == lesson) if lesson else query
        query = query.where(columns.item == item) if item else query
        with self._ledger.database.reading() as connection:
            return [_use(row) for row in connection.execute(query)]

    def recall(
        self, situation: Situation, most: int, tokens: int, vector: Sequence[float] = (), digest: str = ""
    ) -> tuple[Recalled, ...]:
        """At most `most` lessons that fit, the best first, in no more than about so many tokens. `vector` is what the
        embedding model of this digest makes of the situation's words; without one, words and places alone decide."""
        return self._finder.find(situation, most, tokens, vector, digest)

    def effect(self, lesson: Lesson) -> Effect:
        """How items ended with it and, in its scope and since it was learned, without it."""
        return self._finder.effect(lesson)

    def whole(self, id: str) -> dict[str, Any]:
        """A lesson with its uses and its effect, as JSON takes it. Raises NotFound."""
        lesson = self.get(id)
        effect = self.effect(lesson)
        return {
            **lesson.model_dump(mode="json"),
            "uses": [use.model_dump(mode="json") for use in self.uses(lesson=id)],
            "effect": {**effect.model_dump(mode="json"), "in_words": effect.in_words()},
        }

    # --- a person's verbs

    def add(self, lesson: Lesson, by: str) -> Lesson:
        """Keep what a person wrote down; it counts at once. Raises Conflict when a lesson says so already."""
        with self._ledger.database.writing() as connection:
            known = self._of_key(connection, lesson.key)
            if known:
                raise Conflict(f"{known.id} says that already", f"`appliance learn lessons confirm {known.id}`")
            self._check_repo(connection, lesson.scope)
            at = self._ledger.clock.now()
            fresh = lesson.with_(state=LessonState.CONFIRMED, by=f"person:{by}", why="written by hand")
            kept = self._insert(connection, fresh, at)
            self._tell(connection, Fact.LESSON_CONFIRMED, kept, "")
            return kept

    def move(self, id: str, to: LessonState, by: str, why: str) -> Lesson:
        """Confirm or retire a lesson in a person's name. Raises NotFound, or Conflict as its life says."""
        with self._ledger.database.writing() as connection:
            return self._move(connection, self._get(connection, id), to, f"person:{by}", why)

    def edit(self, id: str, by: str, text: str | None = None, scope: Scope | None = None) -> Lesson:
        """Change its words or its scope. Raises NotFound, or ValidationError for words that cannot be."""
        with self._ledger.database.writing() as connection:
            before = self._get(connection, id)
            self._check_repo(connection, scope or before.scope)
            changes: dict[str, Any] = {} if text is None else {"text": text}
            changes |= {} if scope is None else {"scope": scope}
            after = before.with_(**changes, changed=self._ledger.clock.now())
            if (after.text, after.scope) == (before.text, before.scope):
                return before
            self._update(connection, after, reworded=True)
            self._tell(connection, Fact.LESSON_EDITED, after, before.state, by=f"person:{by}", why="edited")
            return after

    # --- what the line learns

    def note_in(self, connection: Connection, item: WorkItem, event: int, learned: Learned) -> None:
        """Keep what the event of an item taught: lessons proposed, lessons used, and what came of using them."""
        for use in learned.uses:
            self._use(connection, use.with_(item=item.id, round=item.round))
        for lesson in learned.proposals:
            evidence = tuple(one.with_(event=event) for one in lesson.evidence)
            proposed = self._propose(connection, lesson.with_(evidence=evidence), item.id)
            self._repeated(connection, item, proposed, learned.failures)
        if learned.came_of:
            self._settle(connection, item, learned)

    def propose(self, lesson: Lesson) -> Lesson:
        """Keep a lesson that something taught; what says the same of the same place is one lesson."""
        with self._ledger.database.writing() as connection:
            return self._propose(connection, lesson, lesson.evidence[-1].item if lesson.evidence else "")

    def decay(self, id: str, why: str) -> Lesson:
        """Let go of a lesson that is not worth a prompt any more. One that nothing uses is returned as it is."""
        with self._ledger.database.writing() as connection:
            lesson = self._get(connection, id)
            if lesson.state not in ALIVE:
                return lesson
            return self._move(connection, lesson, LessonState.DECAYED, RULE, why)

    def alive(self, repo: str) -> bool:
        """Is there a lesson that this repository may use?"""
        columns = schema.lessons.c
        here = (columns.state.in_([str(state) for state in ALIVE]), columns.repo.in_(("", repo)))
        with self._ledger.database.reading() as connection:
            return connection.scalar(select(columns.number).where(*here).limit(1)) is not None

    def unused(self, days: float) -> list[Lesson]:
        """Living lessons that nothing has used, changed or taught again for so many days."""
        before = self._ledger.clock.now() - timedelta(days=days)
        alive = [one for state in ALIVE for one in self.all(state, limit=MOST)]
        return [one for one in alive if max(one.changed, one.used or one.changed) < before]

    # --- vectors

    def without_vector(self, model: str, digest: str, limit: int) -> list[Lesson]:
        """Living lessons of which this model has made no vector yet."""
        lessons, vectors = schema.lessons.c, schema.lesson_vectors.c
        joined_by = schema.lessons.outerjoin(schema.lesson_vectors, lessons.id == vectors.lesson)
        query = select(lessons.body).select_from(joined_by).where(lessons.state.in_([str(state) for state in ALIVE]))
        stale = (vectors.digest.is_(None)) | (vectors.digest != digest) | (vectors.model != model)
        with self._ledger.database.reading() as connection:
            bodies = connection.scalars(query.where(stale).order_by(lessons.number).limit(limit))
            return [Lesson.model_validate_json(body) for body in bodies]

    def keep_vector(self, lesson: Lesson, model: str, digest: str, vector: Sequence[float]) -> None:
        """Keep what a model made of a lesson's text, unless it was edited meanwhile."""
        table = schema.lesson_vectors
        with self._ledger.database.writing() as connection:
            if self._get(connection, lesson.id).text != lesson.text:
                return
            connection.execute(delete(table).where(table.c.lesson == lesson.id))
            packed = self._finder.packed(vector)
            connection.execute(insert(table).values(lesson=lesson.id, model=model, digest=digest, vector=packed))

    # --- within a transaction

    def _get(self, connection: Connection, id: str) -> Lesson:
        body = connection.scalar(select(schema.lessons.c.body).filter_by(id=id))
        if body is None:
            raise NotFound(f"there is no lesson {id!r}", "`appliance learn lessons list` shows all")
        return Lesson.model_validate_json(body)

    def _of_key(self, connection: Connection, key: str) -> Lesson | None:
        body = connection.scalar(select(schema.lessons.c.body).filter_by(key=key))
        return Lesson.model_validate_json(body) if body else None

    def _of_item(self, connection: Connection, lesson: Lesson, item: str) -> Lesson | None:
        """What this kind of source taught of this item before: an item teaches one lesson of a kind."""
        mark = lesson.evidence[0].model_dump_json(include={"item"})[1:-1] if lesson.evidence else ""
        if not item or not mark:
            return None
        columns = schema.lessons.c
        query = select(columns.body).where(
            columns.source == str(lesson.source), columns.body.contains(mark, autoescape=True)
        )
        found = [Lesson.model_validate_json(body) for body in connection.scalars(query)]
        return next((one for one in found if one.learned_from(item)), None)

    def _propose(self, connection: Connection, lesson: Lesson, item: str) -> Lesson:
        at = self._ledger.clock.now()
        known = self._of_key(connection, lesson.key)
        if known and item and known.learned_from(item):
            return known
        known = known or self._of_item(connection, lesson, item)
        if known is None:
            kept = self._insert(connection, lesson.with_(state=LessonState.PROPOSED, by=RULE), at)
            self._tell(connection, Fact.LESSON_PROPOSED, kept, "")
            return kept
        after = known.seen_again(lesson, at).with_(text=joined(known.text, lesson.text))
        self._update(connection, after, reworded=after.text != known.text)
        self._tell(connection, Fact.LESSON_PROPOSED, after, known.state, by=RULE, why="learned again")
        return after

    def _use(self, connection: Connection, use: Use) -> None:
        """Note a use once: a stage that ran again after a kill used it in the same round."""
        table, at = schema.lesson_uses, self._ledger.clock.now()
        where = {"item": use.item, "round": use.round, "lesson": use.lesson, "stage": use.stage}
        if connection.scalar(select(table.c.number).filter_by(**where)):
            return
        number = (connection.scalar(select(func.max(table.c.number))) or 0) + 1
        noted = use.with_(at=at)
        connection.execute(insert(table).values(number=number, came_of="", body=noted.model_dump_json(), **where))
        self._update(connection, self._get(connection, use.lesson).with_(used=at))
        payload = noted.model_dump(mode="json", exclude={"came_of", "at"})
        self._ledger.append_in(connection, Event(kind=Fact.LESSON_USED, subject=use.lesson, payload=payload))

    def _repeated(self, connection: Connection, item: WorkItem, taught: Lesson, failures: int) -> None:
        """What the item's lessons had warned of happened all the same: each such lesson has failed once."""
        table = schema.lesson_uses
        mine = select(table.c.lesson).filter_by(item=item.id, round=item.round, came_of="").distinct()
        for id in connection.scalars(mine).all():
            used = self._get(connection, id)
            same_place = used.scope.path and used.scope.path == taught.scope.path
            if used.source is not taught.source or not (same_place or used.id == taught.id):
                continue
            open_here = (table.c.item == item.id, table.c.round == item.round, table.c.lesson == id)
            connection.execute(update(table).where(*open_here, table.c.came_of == "").values(came_of=REPEATED))
            failed, held = self._count(connection, id, REPEATED), self._count(connection, id, HELD)
            if used.state in ALIVE and failed >= failures and failed > held:
                why = f"contradicted: it was used {failed} times and the same happened all the same"
                self._move(connection, self._get(connection, id), LessonState.DECAYED, RULE, why)

    def _settle(self, connection: Connection, item: WorkItem, learned: Learned) -> None:
        """The item ended: note what came of its open uses, and confirm what has helped often enough."""
        table = schema.lesson_uses
        mine = (table.c.item == item.id, table.c.came_of == "")
        ids = connection.scalars(select(table.c.lesson).where(*mine).distinct()).all()
        connection.execute(update(table).where(*mine).values(came_of=learned.came_of))
        for id in ids if learned.came_of == HELD else ():
            lesson, held = self._get(connection, id), self._count(connection, id, HELD)
            if lesson.state is LessonState.PROPOSED and held >= learned.successes:
                why = f"used in {held} items whose changes held"
                self._move(connection, lesson, LessonState.CONFIRMED, RULE, why)

    def _count(self, connection: Connection, lesson: str, came_of: str) -> int:
        """In how many rounds of items a use came to this."""
        uses = schema.lesson_uses.c
        rounds = select(uses.item, uses.round).where(uses.lesson == lesson, uses.came_of == came_of).distinct()
        return int(connection.scalar(select(func.count()).select_from(rounds.subquery())) or 0)

    def _move(self, connection: Connection, lesson: Lesson, to: LessonState, by: str, why: str) -> Lesson:
        after = lesson.moved(to, by, why, self._ledger.clock.now())
        self._update(connection, after)
        self._tell(connection, FACTS[to], after, lesson.state)
        return after

    def _insert(self, connection: Connection, lesson: Lesson, at: datetime) -> Lesson:
        number = (connection.scalar(select(func.max(schema.lessons.c.number))) or 0) + 1
        kept = lesson.with_(id=f"L-{number}", created=at, changed=at)
        connection.execute(insert(schema.lessons).values(number=number, id=kept.id, key=lesson.key, **_columns(kept)))
        indexed(connection, number, kept)
        return kept

    def _update(self, connection: Connection, lesson: Lesson, reworded: bool = False) -> None:
        connection.execute(update(schema.lessons).where(schema.lessons.c.id == lesson.id).values(**_columns(lesson)))
        if reworded:
            indexed(connection, int(lesson.id.removeprefix("L-")), lesson)
            connection.execute(delete(schema.lesson_vectors).where(schema.lesson_vectors.c.lesson == lesson.id))

    def _tell(
        self, connection: Connection, fact: Fact, lesson: Lesson, before: str, by: str = "", why: str = ""
    ) -> None:
        """Append the event: the lesson whole, where it came from and went, who and why."""
        whole = lesson.model_dump(mode="json")
        payload = {"lesson": whole, "from": str(before), "to": str(lesson.state), "by": by or lesson.by,
                   "why": why or lesson.why, "evidence": whole["evidence"]}  # fmt: skip
        self._ledger.append_in(connection, Event(kind=fact, subject=lesson.id, payload=payload))

    @staticmethod
    def _check_repo(connection: Connection, scope: Scope) -> None:
        known = connection.scalars(select(schema.repositories.c.name)).all()
        if scope.repo and scope.repo not in known:
            raise NotFound(f"there is no repository {scope.repo!r}", f"known: {', '.join(known) or 'none'}")


MOST = 100_000
"""Lessons looked through at most."""


def _columns(lesson: Lesson) -> dict[str, Any]:
    return {
        "state": str(lesson.state), "source": str(lesson.source), "repo": lesson.scope.repo, "home": lesson.home,
        "body": lesson.model_dump_json(),
    }  # fmt: skip


def _use(row: Any) -> Use:
    return Use.model_validate_json(row.body).with_(came_of=row.came_of)
