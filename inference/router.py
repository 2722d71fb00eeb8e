"""The router's decision: a pure function from a call's facts, the rules, the catalogue and the policy to candidates.

Rules decide who is *eligible*; the objective orders what a rule left open, and what was learned re-orders candidates
inside the matched rule, as far as the rule allows it: by what a text means where the call brings its vector and the
policy has learned from such, else by what held in the rule so far. Every model that was left out is named with the
reason, so that a decision can be questioned later; `explain` adds every rule with why it holds or does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from appliance.errors import LimitExceeded, NotFound
from appliance.policy import Foreseen, Meaning, Weights
from appliance.work import Noun
from inference.asked import AUTO, RouteRequest
from inference.catalogue import SEARCH, WILDCARD, Catalogue, Entry
from inference.conditions import conditions_in_words, mismatches
from inference.parameters import Parameters
from inference.policy import RULES_ALONE, Learned, Policy
from inference.rules import BALANCED, OBJECTIVES, Mode, Objective, Retry, Rule, Rules
from models.card import TASKS

CALLER = "the caller"
"""Stands in for a rule's name when the caller named the model."""
PROVEN = ("tools", "json_schema")
"""Needs that admission tries: who failed there is left out."""
PLAIN = Parameters()


class ContextExceeded(LimitExceeded):
    """The prompt is longer than any admitted model takes."""

    code = "context_length_exceeded"


class Considered(Noun):
    """One rule and why it holds or does not."""

    rule: str
    matched: bool
    why: str


class Decision(Noun):
    """Candidates in order of preference, the rule that named them, and why others were left out."""

    task: str
    model: str = AUTO
    candidates: tuple[str, ...] = ()
    rule: str = ""
    reasons: tuple[str, ...] = Field((), description="one line for each candidate left out, and for re-ordering")
    considered: tuple[Considered, ...] = Field((), description="every rule, when the decision is explained")
    objective: Objective = Field(default_factory=lambda: BALANCED)  # a plain default would be copied for each
    learning: Mode = "off"
    policy: str = Field("", description="what the learned policy did to the order, or why it did nothing")
    propensity: float = Field(1.0, description="how likely this candidate was to come first")
    explored: bool = Field(False, description="whether it comes first to learn how good it is")
    policy_version: int | None = Field(None, description="the policy that was looked at; None for rules alone")
    suggested: tuple[str, ...] = Field((), description="the policy's order, when the rule only observes it")
    retry: Retry | None = Field(None, description="None for the settings of the gateway")
    parameters: Parameters = Field(default_factory=lambda: PLAIN)
    queue_seconds: float | None = Field(None, description="longest wait for a model; None as set")
    refusal: str = Field("", description="why there is no candidate")
    hint: str = ""
    too_long: bool = Field(False, description="length alone left out the last candidates")

    def require(self) -> Decision:
        """Itself. Raises NotFound when nobody may answer, ContextExceeded when only the prompt's length forbids it."""
        if self.candidates:
            return self
        if self.too_long:
            raise ContextExceeded(self.refusal, self.hint)
        raise NotFound(self.refusal, self.hint)

    @property
    def summary(self) -> str:
        """Rule and reason in one line."""
        return f"{self.rule}: " + ", ".join(self.candidates) if self.candidates else self.refusal


def decide(
    request: RouteRequest, rules: Rules, catalogue: Catalogue, learned: Learned = RULES_ALONE,
    meaning: Meaning | None = None,
) -> Decision:  # fmt: skip
    """Who may answer this request, best first; `meaning` is the vector of the text it is about."""
    name, _, aim = request.model.partition(":")
    if name != AUTO or (aim and aim not in OBJECTIVES):
        return _named(request, catalogue)
    for rule in rules.rule:
        if next(mismatches(rule.when, request), None) is None:
            return _by_rule(rule, request, catalogue, aim, learned, meaning)
    return Decision(
        task=request.task,
        model=request.model,
        refusal=f"no rule is about task {request.task!r} with these conditions",
        hint=f"`appliance route explain --task {request.task}` shows why; add a rule to policy/routes.toml",
    )


def explain(
    request: RouteRequest, rules: Rules, catalogue: Catalogue, learned: Learned = RULES_ALONE,
    meaning: Meaning | None = None,
) -> Decision:  # fmt: skip
    """The decision with every rule: the one that decided, those that do not hold, those that came too late."""
    decision = decide(request, rules, catalogue, learned, meaning)
    if decision.rule == CALLER:
        return decision
    return decision.with_(considered=tuple(_considered(decision.rule, rules, request)))


def _considered(deciding: str, rules: Rules, request: RouteRequest) -> Iterator[Considered]:
    late = False
    for rule in rules.rule:
        why_not = "; ".join(mismatches(rule.when, request))
        why = why_not or conditions_in_words(rule.when)
        if late and not why_not:
            why = f"{why}, but {deciding!r} came first"
        yield Considered(rule=rule.name, matched=rule.name == deciding, why=why)
        late = late or rule.name == deciding


def keep_to(decision: Decision, model: str) -> Decision:
    """The decision for the next call of an episode that `model` has served so far: it comes first while it may."""
    if not decision.candidates or decision.candidates[0] == model:
        return decision
    if model not in decision.candidates:
        return decision.with_(reasons=(*decision.reasons, f"{model} served this episode and is no candidate any more"))
    rest = tuple(name for name in decision.candidates if name != model)
    return decision.with_(
        candidates=(model, *rest), reasons=(*decision.reasons, f"{model} comes first: it has served this episode")
    )


def _named(request: RouteRequest, catalogue: Catalogue) -> Decision:
    """The caller named the model: only admission counts, and the engine has the last word on length."""
    entry = catalogue.find(request.model)
    refusal, hint = "", ""
    if entry is None:
        refusal, hint = f"there is no model {request.model!r}", catalogue.near(request.model)
    elif request.task not in entry.tasks:
        refusal = f"model {entry.id!r} is not admitted for task {request.task!r}"
        hint = f"it may do {', '.join(entry.tasks) or 'nothing yet'}; `appliance model list` shows what each may do"
    elif "vision" in request.needs and "vision" not in (entry.able or ()):
        refusal = f"model {entry.id!r} was not seen to see pictures"
        hint = f"`appliance model admit {entry.id}` tries it with one; or ask for `auto`"
    candidates = () if entry is None or refusal else (entry.id,)
    return Decision(
        task=request.task, model=request.model, rule=CALLER, candidates=candidates, refusal=refusal, hint=hint
    )


def _by_rule(
    rule: Rule, request: RouteRequest, catalogue: Catalogue, aim: str, learned: Learned, meaning: Meaning | None
) -> Decision:
    objective = OBJECTIVES[aim] if aim else rule.objective
    notes: dict[str, None] = {}
    first = _fit(rule.candidates, request, catalogue, objective, notes)
    if aim and len(first) > 1:
        models = [name for name in first if name != SEARCH]
        ordered, how = _ordered(models, catalogue, objective)
        first = [name for name in first if name == SEARCH] + ordered
        notes[f"ordered for {aim} by {how}"] = None
    first, said, suggested = _learned_order(first, rule, request, catalogue, aim, learned, notes, meaning)
    then = [name for name in _fit(rule.fallback, request, catalogue, objective, notes) if name not in first]
    candidates, reasons = (*first, *then), tuple(notes)
    too_long = not candidates and any(LENGTH in reason for reason in reasons)
    refusal, hint = "", ""
    if not candidates:
        refusal = "; ".join([f"rule {rule.name!r} leaves no model for task {request.task!r}", *reasons])
        hint = "shorten the prompt" if too_long else f"import one: `appliance model import PATH --task {request.task}`"
        hint = hint if request.task in TASKS else f"there is no such task; there are {', '.join(TASKS)}"
    return Decision(
        task=request.task, model=request.model, candidates=candidates, rule=rule.name, reasons=reasons,
        objective=objective, learning=rule.learning, policy=said,
        policy_version=None if learned.policy is None or aim or rule.learning == "off" else learned.policy.version,
        suggested=(*suggested, *then) if suggested else (),
        retry=rule.retry, parameters=rule.parameters, queue_seconds=rule.queue_seconds,
        refusal=refusal, hint=hint, too_long=too_long,
    )  # fmt: skip


def _fit(
    names: Sequence[str], request: RouteRequest, catalogue: Catalogue, objective: Objective, notes: dict[str, None]
) -> list[str]:
    """Who of these may answer, each once, `*` replaced by what it stands for; `notes` gets why the others may not."""
    kept: list[str] = []
    for name in _expanded(names, request, catalogue, objective, notes):
        entry = catalogue.find(name)
        why_not = _unfit(name, entry, request)
        if why_not:
            notes[f"{name} left out: {why_not}"] = None
        elif (id := entry.id if entry else name) not in kept:
            kept.append(id)
    return kept


def _expanded(
    names: Sequence[str], request: RouteRequest, catalogue: Catalogue, objective: Objective, notes: dict[str, None]
) -> Iterator[str]:
    for name in names:
        if name != WILDCARD:
            yield name
            continue
        admitted = [entry.id for entry in catalogue if request.task in entry.tasks]
        ordered, how = _ordered(admitted, catalogue, objective)
        if len(admitted) > 1:
            notes[f"models that '*' stands for are ordered by {how}"] = None
        yield from ordered


def written_out(rule: Rule, task: str, catalogue: Catalogue) -> tuple[str, ...]:
    """A rule's candidates by their ids, each once, with those that `*` stands for at this task."""
    names = _expanded(rule.candidates, RouteRequest(task=task), catalogue, rule.objective, {})
    return tuple(dict.fromkeys(entry.id if (entry := catalogue.find(name)) else name for name in names))


def _learned_order(
    first: list[str], rule: Rule, request: RouteRequest, catalogue: Catalogue, aim: str, learned: Learned,
    notes: dict[str, None], meaning: Meaning | None,
) -> tuple[list[str], str, tuple[str, ...]]:  # fmt: skip
    """Candidates after learning's word, what is said about it, and its order when it is only observed."""
    if rule.learning == "off":
        return first, "the rule takes no policy", ()
    if aim:
        return first, "the caller's objective counts, not the policy", ()
    if learned.policy is None:
        return first, f"rules alone: {learned.why}", ()
    version = learned.policy.version
    wanted, how = _wanted(rule, request, learned.policy, meaning)
    if not wanted:
        return first, f"policy {version} says nothing about this", ()
    order = reordered(first, [entry.id if (entry := catalogue.find(name)) else name for name in wanted])
    if order == first:
        return first, f"policy {version} agrees", ()
    if rule.learning == "observe":
        return first, f"policy {version} would order {', '.join(order)}", tuple(order)
    notes[f"ordered by policy {version}, {how}"] = None
    return order, f"policy {version} ordered", ()


def _wanted(rule: Rule, request: RouteRequest, policy: Policy, meaning: Meaning | None) -> tuple[Sequence[str], str]:
    """The order that the policy wants, and what it goes by. What a text means is narrower than where it comes from."""
    predictor = policy.predictor(rule.name, request) if meaning else None
    if predictor is not None and meaning is not None and predictor.reads(meaning):
        aims = rule.objective
        foreseen = predictor.foresee(meaning, Weights(aims.quality, aims.cost, aims.speed, aims.tokens))
        return [one.candidate for one in foreseen], f"by what the text means: {_in_words(foreseen)}"
    preference = policy.preference(rule.name, request)
    if preference is None:
        return (), ""
    return preference.order, f"learned from {preference.evidence} outcomes"


def _in_words(foreseen: Sequence[Foreseen]) -> str:
    """What is expected of the first two.

    >>> _in_words([Foreseen("small", 0.81, 0.9), Foreseen("big", 0.84, 0.7)])
    'small would hold in 81 %, big in 84 % of such'
    """
    first, *others = [f"{one.candidate}{{}} in {100 * one.quality:.0f} %" for one in foreseen[:2]]
    return ", ".join([first.format(" would hold"), *(one.format("") for one in others)]) + " of such"


def reordered(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """`names` with those that are also wanted in the wanted order, in the places they had; all others stay.

    >>> reordered(["search", "small", "big"], ["big", "unknown", "small"])
    ['search', 'big', 'small']
    """
    rank = {name: n for n, name in reversed(list(enumerate(wanted)))}
    ranked = iter(sorted((name for name in names if name in rank), key=rank.__getitem__))
    return [next(ranked) if name in rank else name for name in names]


def _ordered(names: Sequence[str], catalogue: Catalogue, objective: Objective) -> tuple[list[str], str]:
    """Models in the order the objective wants, and by what: measured speed where only speed counts and all have it,
    else size, big ones first when quality weighs at least as much as all else together."""
    entries = [entry for entry in map(catalogue.find, names) if entry]
    if objective.speed > objective.quality + objective.cost + objective.tokens:
        speeds = {entry.id: entry.tokens_per_second for entry in entries if entry.tokens_per_second}
        if len(speeds) == len(entries):
            return sorted(speeds, key=lambda id: (-(speeds[id] or 0.0), id)), "measured speed"
    big_first = objective.quality >= objective.cost + objective.speed + objective.tokens
    entries.sort(key=lambda entry: (-entry.size_bytes if big_first else entry.size_bytes, entry.id))
    return [entry.id for entry in entries], "size of the model, as nothing else is measured yet"


LENGTH = "its context of"


def _unfit(name: str, entry: Entry | None, request: RouteRequest) -> str:
    """Why this candidate cannot take the request; empty when it can."""
    if name == SEARCH:
        if request.task != "repair":
            return "search only repairs"
        return "search is done by the line; it cannot answer a call" if request.answering else ""
    if entry is None:
        return "this box has no such model any more"
    if request.task not in entry.tasks:
        return f"not admitted for {request.task}"
    for need in request.needs:
        if need == "vision" and need not in (entry.able or ()):
            return "it cannot see images"
        if need in PROVEN and entry.able is not None and need not in entry.able:
            return f"its admission did not pass {need}"
    if entry.context_tokens < request.prompt_tokens:
        return f"{LENGTH} {entry.context_tokens} tokens is too small for {request.prompt_tokens}"
    return ""


def as_json(decision: Decision) -> Mapping[str, object]:
    """What /v1/route and `route explain --json` print."""
    return decision.model_dump(mode="json", exclude={"too_long"})
