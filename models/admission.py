"""Admission: which tasks a model may do, by what it did when it was asked in earnest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from appliance.errors import Unavailable, UsageError
from appliance.ports import Progress
from appliance.work import utcnow
from models import trials
from models.card import Card, checked_tasks
from models.score import Check, Score
from models.talk import Refused, Talk
from models.trials import Exercise, Speeds

MANNERS = ("chat", "stop", "no_loops", "context")
NEEDS: Mapping[str, tuple[str, ...]] = {
    "chat": (*MANNERS, "streaming"),
    "repair": (*MANNERS, "edit_format"),
    "review": (*MANNERS, "verdict"),
    "triage": (*MANNERS, "json_schema"),
    "embedding": ("vectors",),
    "rerank": ("ranking",),
}
"""Task → the checks a model must pass for it."""
ABILITIES = ("json_schema", "tool_call", "vision")
"""Tried with every model that writes, because requests may need them whatever their task; vision if it claims it."""
ORDER = (
    "chat", "streaming", "stop", "no_loops", "json_schema", "tool_call", "vision", "edit_format", "verdict",
    "context", "vectors", "ranking",
)  # fmt: skip

Trial = Callable[[], Check]


def admit(
    talk: Talk, card: Card, tasks: Sequence[str], exercises: Sequence[Exercise], engine: str, progress: Progress
) -> Score:
    """Try the model behind `talk` for `tasks` (none: what its header suggests); returns what came of it.

    What an earlier admission of the same weights proved stays where it was not tried again. An engine that goes away
    on the way fails what was still to be tried.

    Raises:
        UsageError: an unknown task, or nothing to try.
    """
    wanted = checked_tasks(tasks) or card.could
    if not wanted:
        raise UsageError(
            f"{card.id} has no chat template and is no embedder, so there is nothing to try",
            f"`appliance model admit {card.id} --task TASK --force` gives a task on your word",
        )
    speeds = Speeds()
    known = _trials(talk, card, exercises, speeds)
    checks = _run([name for name in to_try(wanted, whole=not tasks) if name in known], known, progress)
    measured = {
        "first_token_seconds": speeds.first_token,
        "tokens_per_second": speeds.tokens,
        "prompt_tokens_per_second": speeds.prompt_tokens,
    }
    score = concluded(card, wanted, checks).with_(engine=engine, context_tokens=talk.context_tokens)
    return score.with_(**{name: value for name, value in measured.items() if value is not None})


def to_try(tasks: Sequence[str], whole: bool) -> tuple[str, ...]:
    """The checks for these tasks, in their order; all abilities too when it is a `whole` admission of a writer."""
    needed = {check for task in tasks for check in NEEDS[task]}
    if whole and not set(tasks) <= {"embedding", "rerank"}:
        needed.update(ABILITIES)
    return tuple(name for name in ORDER if name in needed)


def concluded(card: Card, tried_for: Sequence[str], checks: Sequence[Check]) -> Score:
    """The score after these checks: a task is given when all it needs was passed. Pure."""
    old = card.score if card.score and card.score.digest == card.digest else Score(digest=card.digest)
    new = {check.name for check in checks}
    kept = [check for check in old.checks if check.name not in new]
    score = old.with_(at=utcnow(), checks=(*checks, *kept))
    given = [task for task in (*tried_for, *old.tasks) if all(score.passed(name) for name in NEEDS[task])]
    return score.with_(tasks=checked_tasks(given))


def _trials(talk: Talk, card: Card, exercises: Sequence[Exercise], speeds: Speeds) -> Mapping[str, Trial]:
    by_name: dict[str, list[Exercise]] = {}
    for exercise in exercises:
        by_name.setdefault(exercise.name, []).append(exercise)
    fixed: dict[str, Trial] = {
        "chat": lambda: trials.chat(talk),
        "streaming": lambda: trials.streaming(talk, speeds),
        "stop": lambda: trials.stop(talk),
        "no_loops": lambda: trials.no_loops(talk, speeds),
        "json_schema": lambda: trials.json_schema(talk),
        "tool_call": lambda: trials.tool_call(talk),
        "context": lambda: trials.context(talk, speeds),
        "vectors": lambda: trials.vectors(talk, card.embedding_length),
        "ranking": lambda: trials.ranking(talk),
    }
    if card.vision or card.format == "remote":
        fixed["vision"] = lambda: trials.vision(talk)
    if card.format != "remote" and not card.tools:
        fixed["tool_call"] = lambda: Check(name="tool_call", passed=False, said="its chat template knows no tools")
    return {**fixed, **{name: _exercised(talk, name, given) for name, given in by_name.items()}}


def _exercised(talk: Talk, name: str, given: Sequence[Exercise]) -> Trial:
    return lambda: trials.exercises(talk, name, given)


def _run(names: Sequence[str], known: Mapping[str, Trial], progress: Progress) -> tuple[Check, ...]:
    checks: list[Check] = []
    gone = ""
    for name in names:
        if gone:
            checks.append(Check(name=name, passed=False, said=f"not tried: {gone}"))
            continue
        progress(f"trying {name}")
        try:
            checks.append(known[name]())
        except Refused as refusal:
            checks.append(Check(name=name, passed=False, said=refusal.message))
        except Unavailable as failure:
            gone = failure.message
            checks.append(Check(name=name, passed=False, said=gone))
        progress(f"{'passed' if checks[-1].passed else 'failed'} {name}: {checks[-1].said}")
    return tuple(checks)
