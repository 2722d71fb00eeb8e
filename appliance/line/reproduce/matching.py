"""Which failing tests a report is about, and whether a new test fails for the reason the report gives. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.line.reproduce.claims import Reproduction

ENOUGH = 1.0
"""Score from which a failing test counts as reported: one shared name, or a shared value together with shared words."""

BROKEN = re.compile(
    r"\b(ImportError|ModuleNotFoundError|SyntaxError|IndentationError|fixture '.*' not found|errors? during collection)\b"
)
"""What says that the test itself could not run."""

COMMON = frozenset(
    re.findall(
        r"\w+",
        """the a an and or of to in is it for with on at by from this that be as are was not no but we i you they when
        then should would could does do did get gets got give gives given return returns returned instead expected
        actual test tests assert assertionerror error bug wrong value values result results none true false def self""",
    )
)
"""Words that say nothing about what a report is about."""


@dataclass(frozen=True)
class Match:
    """How much a failing test has in common with the report."""

    test: str
    score: float
    why: str


def match_failures(
    report: str, failing: Mapping[str, str], similarity: Mapping[str, float]
) -> tuple[tuple[str, ...], str]:
    """The failing tests the report is about, best first, and why; none, and why not.

    Names count most (an identifier of the report in the test's id or failure), then the exception, then values, then
    plain words. `similarity` (test id → 0..1, may be empty) adds a voice of its own. Tests far below the best one are
    left out: a repository may have failing tests that this report does not speak of.
    """
    if not failing:
        return (), "no test of the repository fails"
    matches = sorted((_match(report, test, text, similarity.get(test, 0.0)) for test, text in failing.items()),
                     key=lambda match: (-match.score, match.test))  # fmt: skip
    best = matches[0]
    if best.score < ENOUGH:
        return (
            (),
            f"{len(failing)} test(s) fail, but none is what the report is about (nearest: {best.test}, {best.why})",
        )
    kept = [match for match in matches if match.score >= max(ENOUGH, 0.6 * best.score)]
    return tuple(match.test for match in kept), "; ".join(
        f"{match.test} fails as reported: {match.why}" for match in kept
    )


def _match(report: str, test: str, message: str, likeness: float) -> Match:
    ours, theirs = identifiers(report), identifiers(f"{test} {message}")
    names = sorted(name for name in ours & theirs if name not in COMMON)
    raised = sorted(exceptions(report) & exceptions(message))
    values = sorted(values_in(report) & values_in(message))
    words = sorted(plain_words(report) & plain_words(f"{test} {message}"))
    score = 1.0 * min(len(names), 3) + 0.7 * len(raised) + 0.4 * min(len(values), 4) + 0.25 * min(len(words), 4)
    score += 0.5 * likeness if likeness > 0.3 else 0.0
    shared = [("names", names), ("exceptions", raised), ("values", values), ("words", words)]
    why = ", ".join(f"{what} {' '.join(found[:5])}" for what, found in shared if found) or "nothing in common"
    return Match(test, score, why)


def identifiers(text: str) -> set[str]:
    """Names of code in a text: called, dotted, in back-ticks, with an underscore or an inner capital."""
    found = re.findall(r"\b([A-Za-z_]\w*)(?=\()|`([A-Za-z_][\w.]*)|\b([A-Za-z]\w*_\w+)\b|\b([a-z]+[A-Z]\w*)\b", text)
    names = {name for groups in found for name in groups if name}
    return {part for name in names for part in (name.lower(), *name.lower().split(".")) if len(part) > 2}


def exceptions(text: str) -> set[str]:
    """Exception names in a text, without the one every failed assertion raises."""
    return set(re.findall(r"\b[A-Z]\w*(?:Error|Exception|Warning|Iteration)\b", text)) - {"AssertionError"}


def values_in(text: str) -> set[str]:
    """Numbers of more than one digit and quoted texts: what two mentions of one case share."""
    numbers = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)", text)
    quoted = [found[1] for found in re.findall(r"""(["'`])([^"'`\n]{1,60})\1""", text)]
    return {number for number in numbers if len(number.strip("-")) > 1} | set(quoted)


def plain_words(text: str) -> set[str]:
    """Words of a text, cut to their stems; parts of snake_case names count as words."""
    words = re.findall(r"[a-z]{3,}", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower().replace("_", " "))
    return {re.sub(r"(ings?|ed|es|s)$", "", word) for word in words if word not in COMMON} - {""}


def check_reason(message: str, reproduction: Reproduction) -> tuple[bool, str]:
    """Does a test from the report fail as the report says?

    `message` is pytest's account of its failure. A test that could not run at all proves nothing. One that runs and fails proves the report when what came out is
    what the report says comes out; where the report does not say, its failing alone is the reason.
    """
    broken = BROKEN.search(message)
    if broken and broken.group(1) not in _said_exceptions(reproduction):
        return False, f"the test could not run ({broken.group(0)})"
    if not reproduction.examples:
        return False, "the report carries no example"
    for example in reproduction.examples:
        if example.hangs and ("did not return within" in message or "Timeout" in message):
            return True, f"{example.call} does not return, as reported"
        if example.exception and example.exception.rpartition(".")[2] in message:
            return True, f"{example.call} raises {example.exception}, as reported"
        if example.raises and "DID NOT RAISE" in message:
            return True, f"{example.call} does not raise {example.raises}, as reported"
        shown = re.sub(r"(?m)^(>|\s{4}).*$", "", message)  # the source lines name the arguments too
        if example.actual and not example.exception and _names(shown, example.actual):
            return True, f"{example.call} gives {example.actual}, as reported"
    silent = [one for one in reproduction.examples if not (one.actual or one.exception or one.hangs or one.raises)]
    wanted = [one for one in silent if one.expected and ("assert" in message or "Error" in message)]
    if wanted:
        return True, f"{wanted[0].call} is not {wanted[0].expected}"
    seen = [one.actual or one.exception or "something else" for one in reproduction.examples]
    return False, f"the report says {', '.join(seen)[:200]}, which is not how it fails: {message.strip()[-200:]}"


def _said_exceptions(reproduction: Reproduction) -> set[str]:
    return {one.exception.rpartition(".")[2] for one in reproduction.examples if one.exception}


def _names(message: str, value: str) -> bool:
    """Is the value in the message, as a whole and in either quotation?"""
    bare = value.strip("\"'")
    plain = message.replace('"', "'")
    forms = {value.replace('"', "'"), bare}
    return any(re.search(rf"(?<![\w.]){re.escape(form)}(?![\w.]*\w)", plain) for form in forms if form)
