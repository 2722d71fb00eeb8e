"""Which failing tests a report is about, and whether a new test fails for the reason the report gives. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.line.reproduce.claims import Example, Reproduction
from appliance.line.reproduce.values import MISSING, literal

ENOUGH = 1.0
"""Score from which a failing test counts as reported: one shared name, or a shared value and shared words."""

BROKEN = re.compile(
    r"\b(ImportError|ModuleNotFoundError|SyntaxError|IndentationError|"
    r"fixture '.*' not found|errors? during collection)\b"
)
"""What says that the test itself could not run."""

MISCALLED = re.compile(
    r"(TypeError): .*(?:missing \d+ required|unexpected keyword argument|takes .{1,40} positional argument)"
)
"""What says that the test calls the function in a way it is not made for."""

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

    `message` is pytest's account of its failure. A test that could not run proves nothing. One that fails proves the
    report when what came out is what the report says comes out; where the report names no value, failing is the reason.
    """
    said = {one.exception.rpartition(".")[2] for one in reproduction.examples if one.exception}
    told = "\n".join(_error_lines(message))
    broken = BROKEN.search(told) or MISCALLED.search(told)
    if broken and broken.group(1) not in said:
        return False, f"the test could not run ({broken.group(0)})"
    if not reproduction.examples:
        return False, "the report carries no example"
    reasons = [reason for one in reproduction.examples if (reason := _as_reported(message, one))]
    if reasons:
        return True, reasons[0]
    seen = [one.actual or one.exception or "something else" for one in reproduction.examples]
    last = "; ".join(_error_lines(message)[:2]) or message.strip()[-200:]
    return False, f"the report says {', '.join(dict.fromkeys(seen))[:200]}, which is not how it fails: {last[:200]}"


def _as_reported(message: str, example: Example) -> str:
    """How the failure agrees with what the report says about one call; "" when it does not."""
    errors = _error_lines(message)
    raised = {name for line in errors for name in exceptions(line)}
    if example.hangs:
        late = re.search(r"did not (?:return|end) within|Timeout", message)
        return f"{example.call} does not return, as reported" if late else ""
    if example.exception:
        name = example.exception.rpartition(".")[2]
        found = name in raised or any(re.match(rf"(?:[\w.]+\.)?{re.escape(name)}\b", line) for line in errors)
        return f"{example.call} raises {example.exception}, as reported" if found else ""
    if example.raises:
        return f"{example.call} does not raise {example.raises}, as reported" if "DID NOT RAISE" in message or (
            "not raised" in message) else _raised_otherwise(example, raised)  # fmt: skip
    if example.actual:
        seen = [value for line in errors for value in _observed(line)]
        found = any(same_value(value, example.actual) for value in seen)
        return f"{example.call} gives {example.actual}, as reported" if found else ""
    failed = any(re.match(r"(?:AssertionError: )?assert\b|AssertionError\b", line) for line in errors)
    return f"{example.call} is not {example.expected}" if failed or raised else ""


def _raised_otherwise(example: Example, raised: set[str]) -> str:
    """Another exception than the one wanted, where the report names none that comes now."""
    other = sorted(raised - {example.raises})
    return f"{example.call} raises {other[0]} and not {example.raises}" if other and not example.actual else ""


def _error_lines(message: str) -> list[str]:
    """What pytest marks as the error (lines with E), without its mark; all lines where it marks none."""
    marked = re.findall(r"(?m)^E +(.*)$", message)
    return [line.strip() for line in marked] or [line.strip() for line in message.splitlines() if line.strip()]


def _observed(line: str) -> list[str]:
    """The values that a line of pytest's explanation says came out."""
    patterns = (
        r"(?:AssertionError: )?assert (?:not )?(?P<value>.+?) (?:==|is|!=) .+",
        r"[+ ]*(?:where|and) (?P<value>.+?) = .+",
        r"AssertionError: (?P<value>.+?) (?:!=|is not|not equal to) .+",
    )
    return [found["value"] for pattern in patterns if (found := re.match(pattern, line))]


def same_value(seen: str, said: str) -> bool:
    """Whether two printed values are one: equal, rounded alike, or shortened by pytest with dots.

    >>> same_value("3.3333333333333335", "3.33"), same_value("'aaa...zzz'", "'aaabzzz'"), same_value("3", "4")
    (True, True, False)
    """
    one, other = literal(seen), literal(said)
    if one is not MISSING and other is not MISSING and type(one) is type(other) and one == other:
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    if isinstance(one, int | float) and isinstance(other, int | float):
        digits = len(said.partition(".")[2]) if "." in said else 0
        return abs(one - other) <= (0.51 * 10.0**-digits if digits else 0.0)
    plain, told = seen.strip().strip("\"'"), said.strip().strip("\"'")
    head, dots, tail = plain.partition("...")
    if dots and len(plain) > 6:
        return told.startswith(head) and told.endswith(tail)
    return plain == told
