"""Stage triage: what is it, how bad is it, is it known already, and how far may the box go alone?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from appliance.autonomy import effective
from appliance.errors import FactoryError
from appliance.line.parts import Parts
from appliance.work import Kind, Outcome, State, WorkItem

DUPLICATE_COSINE = 0.88
"""Reports this similar, naming the same things, are one. MiniLM gives paraphrases of one report 0.8 to 0.95 and reports
about different functions of one module up to 0.85, so words must agree as well (see `shared_names`)."""

KIND_WORDS: tuple[tuple[Kind, str], ...] = (
    (Kind.INCIDENT, r"\b(outage|incident|down since|production is|pager|alert)\b"),
    (Kind.FINDING, r"\b(cve-\d+|vulnerab\w+|injection|cwe-\d+|security finding)\b"),
    (
        Kind.BUG,
        r"\b(bug|wrong|incorrect|fails?|failed|failing|error|crash\w*|exception|traceback|broken|instead of|should"
        r"|expected|hangs?|never returns|returns|raises)\b",
    ),
    (Kind.FEATURE, r"\b(feature|please add|would be nice|support for|enhancement|wish|could you add)\b"),
    (Kind.REQUIREMENT, r"\b(shall|must comply|requirement)\b"),
)
"""First match wins, so that a report of something broken is a bug even when it is worded as a wish."""

SEVERITY_WORDS: tuple[tuple[int, str], ...] = (
    (1, r"\b(outage|data loss|corrupt\w*|security|vulnerab\w+|production is down|cve-\d+)\b"),
    (2, r"\b(crash\w*|hangs?|never returns|blocks? us|urgent|regression|exception|traceback)\b"),
    (4, r"\b(typo|cosmetic|minor|nitpick|wording)\b"),
)


def run(item: WorkItem, parts: Parts) -> Outcome:
    """Decide kind, severity and autonomy by rules; find a duplicate by similarity and names."""
    words = f"{item.title}\n{item.body}".lower()
    kind, why_kind = judge_kind(item, words)
    severity, why_severity = judge_severity(kind, words)
    autonomy = effective(parts.settings.autonomy, parts.tracked)
    item = item.with_(kind=kind, severity=severity, autonomy=autonomy)
    twin, why_twin = find_twin(item, parts)
    reason = f"{why_kind}; {why_severity}; autonomy {autonomy.effective} ({autonomy.why}); {why_twin}"
    if twin:
        item = item.with_(state=State.DUPLICATE, duplicate_of=twin.id)
    else:
        item = item.with_(state=State.TRIAGED, stage="plan")
    return Outcome(item=item, reason=reason, by="rule", facts={"duplicate_of": item.duplicate_of})


def judge_kind(item: WorkItem, words: str) -> tuple[Kind, str]:
    """The sender's word counts unless it is the default; then the first rule that matches."""
    if item.kind is not Kind.BUG:
        return item.kind, f"{item.kind}, as its sender says"
    for kind, pattern in KIND_WORDS:
        found = re.search(pattern, words)
        if found:
            return kind, f'{kind}, as it says "{found.group(0)}"'
    return Kind.BUG, "bug, as nothing says otherwise"


def judge_severity(kind: Kind, words: str) -> tuple[int, str]:
    """1 (worst) to 4, by words; incidents are at least 2."""
    for severity, pattern in SEVERITY_WORDS:
        found = re.search(pattern, words)
        if found:
            return severity, f'severity {severity}, as it says "{found.group(0)}"'
    return (2, "severity 2, as incidents are") if kind is Kind.INCIDENT else (3, "severity 3, the usual")


def find_twin(item: WorkItem, parts: Parts) -> tuple[WorkItem | None, str]:
    """The open item of the same repository that says the same, with the reason."""
    apart = {item.id, *item.told_apart}
    others = [
        other for other in parts.open_items
        if other.id not in apart and item.id not in other.told_apart and not other.duplicate_of
    ]  # fmt: skip
    if not others:
        return None, "no other open item to be a duplicate of"
    exact = next((other for other in others if same_words(item, other)), None)
    if exact:
        return exact, f"the same words as {exact.id}"
    try:
        vectors = parts.model.embed([text_of(item), *(text_of(other) for other in others)])
    except FactoryError as error:
        return None, f"similarity could not be judged ({error.message}), and no open item has the same words"
    scores = [sum(a * b for a, b in zip(vectors[0], vector, strict=True)) for vector in vectors[1:]]
    best = max(range(len(others)), key=lambda n: scores[n])
    twin, score = others[best], scores[best]
    names = shared_names(item, twin)
    if score >= DUPLICATE_COSINE and names is not None:
        return twin, f"duplicate of {twin.id}: cosine {score:.2f}, both name {', '.join(names) or 'nothing special'}"
    return None, f"no duplicate: the nearest open item is {twin.id} with cosine {score:.2f}"


def shared_names(one: WorkItem, other: WorkItem) -> Sequence[str] | None:
    """Code names both reports mention; None when each names something and nothing is common."""
    first, second = names_in(text_of(one)), names_in(text_of(other))
    if not first or not second:
        return [] if first == second else None
    return sorted(first & second) or None


def names_in(text: str) -> set[str]:
    """Identifiers a report names: called, dotted in back-ticks, or in snake_case."""
    found = re.findall(r"\b([A-Za-z_]\w*)(?=\()|\b([A-Za-z]+_\w+)\b|`([A-Za-z_][\w.]*)", text)
    return {name for groups in found for name in groups if name}


def same_words(one: WorkItem, other: WorkItem) -> bool:
    """Equal but for case and spacing."""
    return text_of(one).lower().split() == text_of(other).lower().split()


def text_of(item: WorkItem) -> str:
    """What the report says, cut to what the embedding model reads (about 256 tokens)."""
    return f"{item.title}\n{item.body}"[:2000]
