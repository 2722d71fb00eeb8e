"""Stage build: make the change, by the strategies the router names, in their order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.errors import NotFound
from appliance.language import language_of
from appliance.lesson import Recalled
from appliance.line.diffs import diff_of, fingerprint, stat_of
from appliance.line.parts import Parts, noted, with_lessons
from appliance.line.similarity import functions_of, meaning_of, rate
from appliance.line.telling import unlinked
from appliance.policy import Meaning
from appliance.ports import Model, Repository, Route
from appliance.work import Attempt, Candidate, Change, Outcome, Plan, State, WorkItem

SEARCH = "search"
"""The candidate that needs no model."""

MOST_SUSPECTS = 5
"""Suspects whose places lessons are looked for."""

MOST_TOLD = 20
"""Candidates of one attempt that are told of: the first is the one taken, the others are its rivals."""


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Ask the router, try each candidate, and stop at the first change that is more than a guess."""
    assert item.plan is not None, "the runner builds planned items only"
    chosen = chosen_by_person(item)
    if chosen:
        return built(item, item.plan, chosen, "search", f"a person chose it: {item.answers[-1]}", by="person")
    if len(item.attempts) >= parts.settings.line.attempts + len(item.answers):
        return ask(item, f"{len(item.attempts)} attempts and none held: {item.attempts[-1].detail}", {})
    asked, meaning = question(item, parts.model, spoken(item.plan, parts.repository))
    route = parts.model.route(**asked, meaning=meaning)
    with parts.folder("build") as into:
        tree = parts.repository.checkout(item.plan.base, into)
        write_tests(tree, item.plan)
        return _try_each(item, item.plan, parts, tree, route, {"asked": asked, **told(route, meaning)})


def spoken(plan: Plan, repository: Repository) -> str:
    """The language of what is to be changed: of the suspected files, else of most files of the repository."""
    suspected = (*plan.files, *(one.path for one in plan.suspects[:MOST_SUSPECTS]))
    return language_of(suspected) or language_of(repository.paths(plan.base or repository.head()))


def question(item: WorkItem, model: Model, language: str) -> tuple[dict[str, Any], Meaning | None]:
    """What the router is asked about this repair, and the vector of the report (see `meaning_of`)."""
    text = f"{item.title}\n{item.body}"
    asked = {
        "task": "repair", "stage": "build", "language": language, "prompt_tokens": len(text) // 4, "repo": item.repo,
        "severity": item.severity, "attempt": len(item.attempts) + 1,
    }  # fmt: skip
    return asked, meaning_of(text, model)


def told(route: Route, meaning: Meaning | None) -> dict[str, object]:
    """The router's choice as events keep it; the learning store reads it from there."""
    return {
        "rule": route.rule, "candidates": route.candidates, "route": route.reasons, "propensity": route.propensity,
        "explored": route.explored, "policy_version": route.policy_version, "suggested": route.suggested,
        "meaning": meaning.model_dump() if meaning else None,
    }  # fmt: skip


def _try_each(item: WorkItem, plan: Plan, parts: Parts, tree: Path, route: Route, facts: dict[str, object]) -> Outcome:
    similarity = _similarity(tree, item, parts)
    for name in route.candidates:
        strategy, model = (parts.search, "") if name == SEARCH else (parts.droid, name)
        parts.progress(f"building by {name}")
        recalled = recall(item, plan, parts) if model else ()
        if recalled:
            item, facts["lessons"] = with_lessons(item, recalled), noted(recalled, "build", "builder")
        words = tuple(one.lesson.text for one in recalled)
        attempt = strategy(tree, item, model, similarity, words).with_(n=len(item.attempts) + 1)
        item = item.with_(attempts=(*item.attempts, attempt))
        facts[f"attempt {attempt.n}"] = account(attempt)
        if attempt.outcome == "plausible":
            return built(item, plan, attempt.candidates[0], attempt.strategy, attempt.detail, facts, name)
        if attempt.outcome == "ambiguous":
            return ask(item, choices(attempt), facts)
    if not route.candidates:
        return ask(item, f"the rule {route.rule!r} leaves no candidate: {'; '.join(route.reasons)}", facts)
    return ask(item, f"no change was found. {item.attempts[-1].detail}", facts)


def recall(item: WorkItem, plan: Plan, parts: Parts) -> tuple[Recalled, ...]:
    """What earlier work taught of the suspected places and of what the report says."""
    paths = tuple(dict.fromkeys((*plan.files, *(one.path for one in plan.suspects[:MOST_SUSPECTS]))))
    return parts.recall(item, "build", "builder", paths, f"{item.title}\n{item.body}")


def _similarity(tree: Path, item: WorkItem, parts: Parts) -> Mapping[str, float]:
    """Functions by how alike they and the report are; those of files that a person named count as alike as can be."""
    named = set(item.plan.files) if item.plan and item.plan.by else set()
    told = {name: 1.0 for name in functions_of(tree) if name.partition("::")[0] in named} if named else {}
    try:
        return {**rate(tree, f"{item.title}\n{item.body}", parts.model), **told}
    except NotFound:
        return told  # no embedding model on this box: the order of candidates loses one voice


def write_tests(tree: Path, plan: Plan) -> None:
    """Put the plan's reproduction tests into a tree."""
    for test in plan.tests:
        target = tree / test.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(test.content, encoding="utf-8")


def built(
    item: WorkItem,
    plan: Plan,
    candidate: Candidate,
    strategy: str,
    why: str,
    facts: Mapping[str, object] | None = None,
    by: str = "",
) -> Outcome:
    """The change: the candidate's edit and the reproduction tests that ship with it."""
    tests = "".join(diff_of(Path("/nonexistent"), {test.path: test.content}) for test in plan.tests)
    diff = candidate.diff + tests
    stat = stat_of(diff)
    change = Change(
        branch=f"factory/{item.id}" if item.round == 1 else f"factory/{item.id}-{item.round}",
        base=plan.base,
        diff=diff,
        files=stat.files,
        insertions=stat.insertions,
        deletions=stat.deletions,
        message=message(item, candidate),
        author_model=candidate.origin if strategy == "droid" else f"{SEARCH}:{candidate.origin}",
    )
    item = item.with_(change=change, state=State.BUILT, stage="test", waiting_for="")
    size = f"+{stat.insertions} −{stat.deletions} in {len(stat.files)} file(s)"
    return Outcome(item=item, reason=f"{why}; {size}", by=by or strategy, facts=facts or {})


def message(item: WorkItem, candidate: Candidate) -> str:
    """The commit message: what, why, how it was found."""
    why = candidate.why or "The acceptance tests fail without this change and pass with it."
    return unlinked(f"Fix: {item.title}\n\n{why}")


def choices(attempt: Attempt) -> str:
    """The question a person has to answer, with what tells the candidates apart."""
    lines = [f"{attempt.detail} Answer with the number of the right change, or with words that decide:"]
    for number, candidate in enumerate(attempt.candidates, start=1):
        telling = f"; {candidate.telling_input}" if candidate.telling_input else ""
        lines.append(f"{number}. {candidate.why or candidate.origin}{telling}")
    return "\n".join(lines)


def chosen_by_person(item: WorkItem) -> Candidate | None:
    """The candidate an answer names by its number, when the last attempt left a choice."""
    last = item.attempts[-1] if item.attempts else None
    number = re.fullmatch(r"\s*(?:candidate\s+|#)?(\d+)\s*", item.answers[-1]) if item.answers else None
    if last is None or number is None or last.outcome != "ambiguous":
        return None
    index = int(number.group(1)) - 1
    candidate = last.candidates[index] if 0 <= index < len(last.candidates) else None
    return None if candidate is None or fingerprint(candidate.diff) in item.refused_diffs else candidate


def account(attempt: Attempt) -> dict[str, object]:
    """An attempt in figures."""
    return {
        "strategy": attempt.strategy,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "tried": attempt.tried,
        "plausible": len(attempt.candidates),
        "seconds": round(attempt.wall_seconds, 2),
        "prompt_tokens": attempt.prompt_tokens,
        "completion_tokens": attempt.completion_tokens,
        "model_seconds": round(attempt.model_seconds, 3),
        "sandbox": attempt.sandbox,
        "detail": attempt.detail,
        **({"trajectory": attempt.trajectory.model_dump()} if attempt.trajectory else {}),
        "candidates": [
            {"origin": one.origin, "weight": round(one.weight, 4), "cluster": one.cluster,
             "files": sorted(one.files), "digest": fingerprint(one.diff)}
            for one in attempt.candidates[:MOST_TOLD]
        ],
    }  # fmt: skip


def ask(item: WorkItem, why: str, facts: Mapping[str, object]) -> Outcome:
    """Stop for a person."""
    return Outcome(
        item=item.with_(state=State.NEEDS_HUMAN, stage="build", waiting_for=why), reason=why, by="rule", facts=facts
    )
