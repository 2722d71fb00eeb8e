"""Several patches pass: are they the same, and is one of them surely meant?

Patches are clustered by what their functions answer on inputs that the tests do not have, and by the examples in their
docstrings (`runner/probe.py`). The odds of a patch are its ranking score against how often a wrong patch of its kind
passes by accident (`accident.py`); a cluster has the sum of its patches' odds. One cluster far ahead of the others
ships its best patch. Where clusters disagree and none is far ahead, a person is asked, with an input that tells them
apart.

One more competitor is always there: that the right edit is none of those the search knows, and what passes does so by
accident. An edit that was unlikely before it was tried is then the likelier accident, however alone it stands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from appliance import ports, work
from appliance.repair.accident import FORCED, accident
from appliance.repair.edits import Edit, new_contents, unified
from appliance.repair.localise import Fault
from appliance.repair.priors import places
from appliance.repair.problem import literals
from appliance.repair.runners import Job
from appliance.repair.source import Source
from appliance.repair.spectrum import Line
from appliance.repair.validate import Bench
from appliance.repair.words import why

FAR = 5.0
"""Patches whose score is so much below the best one's (in nats) are not compared with it any more."""
SURE = 0.5
"""Share of the odds the best cluster needs. Measured on seeded bugs of modules that no figure of the box is taken from:
of 66 patches at least 0.6 sure, and ahead, 3 were wrong, all of them less than 0.9 sure; in a later round, before dead
code counted against an edit, 3 of 24 so sure were wrong, and of 9 that were less sure 7 would have been right."""
ALONE = 0.3
"""The same where nothing that passes answers otherwise. Measured on three further rounds of the same kind: of 49
patches that stood alone 48 were right, the wrong one 0.69 sure, and the six that were less than 0.6 sure all right; of
36 that were the best of several ways 27."""
AHEAD = 1.5
"""How many times the odds of the next cluster the best one needs: of two that are about as likely, neither is surely
meant, however sure it is that it must be one of them."""
ELSEWHERE = 0.25
"""Odds, before anything is tried, that no edit of the library is the right one. Measured on the same bugs."""
USUAL = 0.0005
"""Share of all wrong edits that pass. Where thousands were tried and one passes, tests are not easily pleased; where
one in ten passes, they are."""
CRASHES = re.compile(
    r"^(does not end|raises (Attribute|Type|Name|UnboundLocal|Index|Recursion|Memory|ZeroDivision)Error)"
)
DOCUMENTED = "the docstring of "
"""How the examples of docstrings begin among the calls."""
WRITTEN = "what is written there"
WORD_COST = 3.0
"""Nats a cluster loses that goes against an example in a docstring which another one, or the code as it is, keeps to.
Examples grow old, so one is no proof; one that nothing keeps to says nothing."""
CRASH_COST = 4.0
"""Nats a cluster loses that crashes on every input, against one that crashes on none."""
TESTS_SHOWN = 30
"""Passing tests that are run to record arguments, besides the acceptance tests."""
INPUTS = 300
SEED = 20261125


@dataclass(frozen=True)
class Decided:
    """What came of the choice; `reason` is empty when nothing passed."""

    decision: Literal["ship", "ask", "none"]
    reason: str = ""
    candidates: tuple[work.Candidate, ...] = ()


@dataclass
class Cluster:
    """Patches that answer alike."""

    edits: list[Edit]
    answers: Mapping[str, str]
    odds: float = 0.0

    @property
    def best(self) -> Edit:
        return max(self.edits, key=lambda edit: edit.score)


def decide(
    fault: Fault,
    bench: Bench,
    passing: Sequence[Edit],
    progress: ports.Progress,
    total: float = -math.inf,
    forced: Collection[Line] = (),
) -> Decided:
    """Ship, ask, or neither. `total` is the logarithm of the odds of all edits of the library together; `forced` are
    statements whose condition no known test needs."""
    if not passing:
        return Decided("none")
    best = max(edit.score for edit in passing)
    near = [edit for edit in passing if edit.score > best - FAR]
    progress(f"comparing {len(near)} patches that pass by what they answer on other inputs")
    answers = probed(fault, bench, [*near, _nothing(fault, near[0])])
    clusters = clustered(near, answers)
    weigh(clusters, best, lambda edit: accident(fault, edit, forced), kept(answers.values()))
    first, rest = clusters[0], clusters[1:]
    lax = laxness(len(rest), bench.tried, accident(fault, first.best, forced))
    elsewhere = ELSEWHERE * math.exp(total - best) * lax
    share = certainty([cluster.odds for cluster in clusters], elsewhere)
    candidates = tuple(_candidate(fault, cluster, number, clusters) for number, cluster in enumerate(clusters))
    tried = f"{len(passing)} of {bench.tried} candidates pass all {len(bench.tests)} known tests"
    alike = " and all answer alike on other inputs" if len(near) > 1 else ""
    sure = share >= SURE and not (rest and first.odds < AHEAD * rest[0].odds)
    if share >= ALONE and not rest:
        return Decided("ship", f"{why(first.best, fault.sources)}; {tried}{alike} ({share:.0%} sure)", candidates)
    if sure:
        odds = f"this one by far the likeliest ({share:.0%})"
        said = f"{why(first.best, fault.sources)}; {tried} in {len(clusters)} ways, {odds}"
        return Decided("ship", said, candidates)
    if not rest:
        doubt = f"but it is an unlikely change, and may pass by accident ({share:.0%} sure, {ALONE:.0%} needed)."
        return Decided("ask", f"{tried}{alike}; {doubt}", candidates)
    question = (
        f"{tried} in {len(clusters)} ways that differ on other inputs, and nothing decides (the likeliest: {share:.0%} "
        f"sure, the next {share * rest[0].odds / first.odds:.0%}; {SURE:.0%} and {AHEAD:g} times the next are needed)."
    )
    return Decided("ask", question, candidates)


def probed(fault: Fault, bench: Bench, edits: Sequence[Edit]) -> dict[int, Mapping[str, str]]:
    """For each edit by its place in the list: call → answer on generated inputs."""
    passing = bench.tests[bench.first :][:TESTS_SHOWN]
    touched = sorted({part.path for edit in edits for part in edit.all})
    targets = sorted({(part.path, _first_line(fault.sources[part.path], part)) for edit in edits for part in edit.all})
    values = [value for path in touched for value in literals(fault.sources[path])][:60]
    request: dict[str, Any] = {
        "op": "probe",
        "tests": [*bench.tests[: bench.first], *passing],
        "files": touched,
        "targets": targets,
        "literals": values,
        "seed": SEED,
        "count": INPUTS,
        "record_cpu": 15.0,
        "cpu": 15.0,
        "wall": 60.0,
        "start_cpu": 10.0,
    }
    answers: dict[int, Mapping[str, str]] = {}
    cold: list[Job] = []
    for job in bench.hot.run(Job({**request, "edits": edit.wire()}, tag=number) for number, edit in enumerate(edits)):
        if job.status == "cold":
            cold.append(Job(job.request, tag=job.tag))
        else:
            answers[job.tag] = _answers(job)
    if cold:
        bench.start_cold()
        answers |= {job.tag: _answers(job) for job in bench.cold.run(cold)}
    return answers


def _nothing(fault: Fault, edit: Edit) -> Edit:
    """The code as it is, as an edit of the same place that changes nothing."""
    text = fault.sources[edit.path].text
    return replace(edit, spans=tuple((start, end, text[start:end]) for start, end, _ in edit.spans), also=())


def kept(answers: Iterable[Mapping[str, str]]) -> frozenset[str]:
    """Examples of docstrings that something keeps to."""
    return frozenset(
        call for one in answers for call, answer in one.items() if call.startswith(DOCUMENTED) and answer == WRITTEN
    )


def _first_line(source: Source, edit: Edit) -> int:
    node = source.function_at(edit.line).node
    decorators = [one.lineno for one in getattr(node, "decorator_list", ())]
    return int(min([getattr(node, "lineno", 1), *decorators]))


def _answers(job: Job) -> dict[str, str]:
    return {call: answer for part in job.parts for call, answer in part.get("calls", ())}


def clustered(edits: Sequence[Edit], answers: Mapping[int, Mapping[str, str]]) -> list[Cluster]:
    """Group edits whose answers agree on every call they share; an edit without answers stands alone."""
    clusters: list[Cluster] = []
    for number in sorted(range(len(edits)), key=lambda n: -edits[n].score):
        mine = answers.get(number, {})
        home = next((one for one in clusters if mine and one.answers and not differing(one.answers, mine)), None)
        if home is None:
            clusters.append(Cluster([edits[number]], mine))
        else:
            home.edits.append(edits[number])
            home.answers = {**mine, **home.answers}
    return clusters


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Calls that are answered differently, shortest first."""
    return sorted(
        (call for call, answer in one.items() if other.get(call, answer) != answer), key=lambda c: (len(c), c)
    )


def weigh(
    clusters: list[Cluster], best: float, accident: Callable[[Edit], float], written: Collection[str] = ()
) -> None:
    """Odds of each cluster, and the clusters in their order. That a patch passes speaks the more for it, the more
    seldom a wrong one like it does. `written` are the examples in docstrings that should be kept to."""
    crashes = [sum(bool(CRASHES.match(a)) for a in one.answers.values()) / max(1, len(one.answers)) for one in clusters]
    for cluster, share in zip(clusters, crashes, strict=True):
        odds = sum(math.exp(edit.score - best) / accident(edit) for edit in cluster.edits)
        against = any(cluster.answers.get(call, WRITTEN) != WRITTEN for call in written)
        cluster.odds = odds * math.exp(-CRASH_COST * (share - min(crashes)) - WORD_COST * against)
    clusters.sort(key=lambda cluster: -cluster.odds)


def laxness(others: int, tried: int, usual: float) -> float:
    """How much more often edits pass by accident here than usual: so many other ways passed, of so many edits tried.
    `usual` is how often the best one does; at most, wrong ones pass as often as where tests see one way of two."""
    return min((1.0 + others) / (1.0 + USUAL * tried), FORCED / usual)


def certainty(odds: Sequence[float], elsewhere: float) -> float:
    """How sure the first cluster is, 0 to 1. `odds` are those of the clusters, each against its own accident;
    `elsewhere` is what the right edit's not being in the library weighs, on the same scale."""
    return odds[0] / (sum(odds) + elsewhere)


def _candidate(fault: Fault, cluster: Cluster, number: int, clusters: Sequence[Cluster]) -> work.Candidate:
    edit = cluster.best
    texts = {path: source.text for path, source in fault.sources.items()}
    files = new_contents(edit, texts)
    total = sum(one.odds for one in clusters)
    return work.Candidate(
        diff=unified(texts, files),
        files=files,
        origin=edit.names(),
        place=" + ".join(places(fault.sources[part.path])(part.line) for part in edit.all),
        found=edit.found,
        weight=round(cluster.odds / total, 4),
        cluster=number,
        why=why(edit, fault.sources),
        telling_input=_telling(cluster, clusters),
    )


def _telling(cluster: Cluster, clusters: Sequence[Cluster]) -> str:
    """An input on which this cluster differs from the likeliest other one."""
    for other in clusters:
        if other is not cluster:
            calls = differing(cluster.answers, other.answers)
            if calls:
                return f"{calls[0]} gives {cluster.answers[calls[0]]} and not {other.answers[calls[0]]}"
    return ""
