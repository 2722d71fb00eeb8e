"""Which lessons fit a situation: by place, by words (FTS5), and by meaning (vectors), put together by their ranks.

Each way gives an order; reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009: the sum of 1 / (60 + rank))
makes one of them, since a bm25 score and a cosine cannot be added. What no way finds telling is left out: a prompt with
a lesson about something else is worse than one without.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, or_, select, text

from appliance.ledger import schema
from appliance.ledger.database import Database
from appliance.lesson import HELD, TELLING, Effect, Lesson, LessonState, Recalled, Situation, fits
from appliance.work import State, WorkItem

FUSION = 60
"""The constant of reciprocal rank fusion, as its authors chose it."""
LEAST_COSINE = 0.35
"""Below it they are about different things: of 24 pairs of lesson and report the local MiniLM gave the four that belong
together 0.39 to 0.53, the others 0.35 at most and 0.04 in the middle."""
LEAST_WORDS = 2
"""Words a lesson and a situation must share to be about one thing."""
MOST_WORDS = 128
"""Words of a situation that are looked for."""
MOST_FOUND = 50
"""Lessons each way looks at."""
MOST_ITEMS = 2000
"""Newest ended items in which a lesson's effect is looked for."""
CHARACTERS_PER_TOKEN = 3

FREQUENT = frozenset(
    re.findall(
        r"\w+",
        """a about after all also an and any are as at be been before but by can change changed code could def did
        do does else error expected fail failed fails file files for from function get given has have how if
        import in instead into is it its line lines more must no not of on one only or other over part pass
        return returns self should so some test tests than that the their then there these they this to true
        false none use used using value was were what when where which who why will with would wrong you your py
        git diff index assert raise class""",
    )
)
"""Words that say nothing of what a text is about, here."""


class Finder:
    """Looks for lessons in one ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(
        self, situation: Situation, most: int, tokens: int, vector: Sequence[float], digest: str
    ) -> tuple[Recalled, ...]:
        """See Lessons.recall."""
        if most < 1:
            return ()
        with self._database.reading() as connection:
            fitting = _fitting(connection, situation)
            if not fitting:
                return ()
            orders = {
                "path": by_place(fitting.values(), situation.paths),
                "words": _by_words(connection, fitting, situation.words),
                "meaning": _by_meaning(connection, fitting, vector, digest) if len(vector) else [],
            }
        return chosen(fused(orders), fitting, most, tokens)

    def effect(self, lesson: Lesson) -> Effect:
        """See Lessons.effect."""
        uses, items = schema.lesson_uses.c, schema.items.c
        with self._database.reading() as connection:
            rows = connection.execute(
                select(uses.item, uses.round, uses.came_of).where(uses.lesson == lesson.id).distinct()
            ).all()
            ended = select(items.body).where(items.state.in_([str(state) for state in SAYING]))
            ended = ended.where(items.updated >= lesson.created.isoformat()).order_by(items.number.desc())
            ended = ended.where(items.repo == lesson.scope.repo) if lesson.scope.repo else ended
            bodies = connection.scalars(ended.limit(MOST_ITEMS)).all()
        came = {(row.item, row.round): row.came_of for row in rows if row.came_of in TELLING}
        used = {row.item for row in rows}
        others = [item for item in map(WorkItem.model_validate_json, bodies) if item.id not in used]
        others = [item for item in others if _in_scope(item, lesson)]
        return Effect(
            held_with=sum(word == HELD for word in came.values()), ended_with=len(came),
            held_without=sum(item.state is State.CLOSED for item in others), ended_without=len(others),
        )  # fmt: skip

    @staticmethod
    def packed(vector: Sequence[float]) -> bytes:
        """A vector as it is kept."""
        return struct.pack(f"<{len(vector)}f", *vector)


SAYING = (State.CLOSED, State.REJECTED, State.ROLLED_BACK)
"""Ends of an item that say something of its change."""


def _in_scope(item: WorkItem, lesson: Lesson) -> bool:
    if item.change is None:
        return False
    return not lesson.scope.path or lesson.scope.touches(item.change.files)


def indexed(connection: Connection, number: int, lesson: Lesson) -> None:
    """Put a lesson's words where FTS5 finds them, in the place of older ones."""
    connection.execute(text("DELETE FROM lesson_words WHERE rowid = :number"), {"number": number})
    row = {"number": number, "text": lesson.text, "place": lesson.scope.path}
    connection.execute(text("INSERT INTO lesson_words (rowid, text, place) VALUES (:number, :text, :place)"), row)


def _fitting(connection: Connection, situation: Situation) -> dict[str, Lesson]:
    """Lessons that may be used here, by id."""
    lessons = schema.lessons.c
    alive = or_(
        lessons.state == str(LessonState.CONFIRMED),
        (lessons.state == str(LessonState.PROPOSED)) & lessons.home.in_(("", situation.repo)),
    )
    bodies = connection.scalars(select(lessons.body).where(alive, lessons.repo.in_(("", situation.repo))))
    found = (Lesson.model_validate_json(body) for body in bodies)
    return {lesson.id: lesson for lesson in found if fits(lesson, situation)}


def by_place(lessons: Iterable[Lesson], paths: Sequence[str]) -> list[str]:
    """Lessons of exactly these places: the longest glob first, then the newest."""
    here = [lesson for lesson in lessons if lesson.scope.touches(paths)]
    here.sort(key=lambda one: (len(one.scope.path), one.changed), reverse=True)
    return [lesson.id for lesson in here]


def _by_words(connection: Connection, fitting: Mapping[str, Lesson], words: str) -> list[str]:
    """Lessons that share enough words, as bm25 orders them."""
    wanted = terms(words)
    if not wanted:
        return []
    found = connection.execute(
        text("SELECT rowid FROM lesson_words WHERE lesson_words MATCH :asked ORDER BY bm25(lesson_words), rowid"),
        {"asked": " OR ".join(f'"{word}"' for word in wanted)},
    )
    known = (fitting.get(f"L-{row.rowid}") for row in found)
    stems = {stem(word) for word in wanted}
    alike = (one for one in known if one and len(stems.intersection(map(stem, terms(one.text)))) >= LEAST_WORDS)
    return [lesson.id for lesson, _ in zip(alike, range(MOST_FOUND), strict=False)]


def _by_meaning(
    connection: Connection, fitting: Mapping[str, Lesson], vector: Sequence[float], digest: str
) -> list[str]:
    """Lessons whose vectors, of the same model, point the same way."""
    import numpy as np  # a tenth of a second, which the start of every command would pay

    vectors = schema.lesson_vectors.c
    rows = connection.execute(select(vectors.lesson, vectors.vector).where(vectors.digest == digest)).all()
    wanted = np.asarray(vector, dtype="<f4")
    kept = [(row.lesson, row.vector) for row in rows if row.lesson in fitting and len(row.vector) == wanted.nbytes]
    if not kept:
        return []
    cosines = np.frombuffer(b"".join(packed for _, packed in kept), dtype="<f4").reshape(len(kept), -1) @ wanted
    order = np.argsort(-cosines, kind="stable")[:MOST_FOUND]
    return [kept[n][0] for n in order if cosines[n] >= LEAST_COSINE]


def terms(words: str) -> list[str]:
    """The telling words of a text, each once, in their order; what FTS5 takes for operators is among none of them.

    >>> terms('shell=True in "run" AND the subprocess call')
    ['shell', 'run', 'subprocess', 'call']
    """
    found = re.findall(r"[^\W_]{2,40}", words.casefold())
    return list(dict.fromkeys(word for word in found if word not in FREQUENT and not word.isdigit()))[:MOST_WORDS]


def stem(word: str) -> str:
    """A word without its usual endings, about as FTS5's stemmer sees it.

    >>> stem("discounts"), stem("calls"), stem("call")
    ('discount', 'call', 'call')
    """
    return re.sub(r"(?:ing|ed|es|s)$", "", word) if len(word) > 4 else word


def fused(orders: Mapping[str, Sequence[str]]) -> list[tuple[str, float, str]]:
    """(lesson, score, by what it was found), the best first.

    >>> [(name, how) for name, _, how in fused({"words": ["a", "b"], "meaning": ["b"]})]
    [('b', 'words, meaning'), ('a', 'words')]
    """
    scores: dict[str, float] = {}
    ways: dict[str, list[str]] = {}
    for way, order in orders.items():
        for rank, name in enumerate(order, start=1):
            scores[name] = scores.get(name, 0.0) + 1 / (FUSION + rank)
            ways.setdefault(name, []).append(way)
    return sorted(((name, scores[name], ", ".join(ways[name])) for name in scores), key=lambda one: -one[1])


def chosen(
    ordered: Sequence[tuple[str, float, str]], lessons: Mapping[str, Lesson], most: int, tokens: int
) -> tuple[Recalled, ...]:
    """The best that there is room for."""
    taken: list[Recalled] = []
    left = tokens
    for name, score, how in ordered:
        needs = len(lessons[name].text) // CHARACTERS_PER_TOKEN + 1
        if len(taken) < most and needs <= left:
            left -= needs
            taken.append(Recalled(lesson=lessons[name], rank=len(taken) + 1, score=round(score, 5), how=how))
    return tuple(taken)
