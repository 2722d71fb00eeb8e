"""What a value written in a report can mean, and which reading fits best."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from dataclasses import dataclass

from appliance.line.reproduce.claims import Form, Said

IN_WORDS: dict[str, object] = {
    "an empty list": [], "empty list": [], "an empty array": [], "an empty string": "", "empty string": "",
    "the empty string": "", "the empty list": [], "an empty dict": {}, "empty dict": {}, "an empty dictionary": {},
    "an empty tuple": (), "empty tuple": (), "an empty set": set(), "empty set": set(), "nothing": None, "none": None,
    "null": None, "true": True, "false": False, "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5,
}  # fmt: skip
STOPWORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a about all also always an and any as at be because been broken but by bug can correct correctly crash
        different do does error exactly exception expected fails fine for from garbage get good happens have i if
        in incorrect incorrectly instead is it its just like me my no nonsense not of ok on one only or other
        output properly result right same something that the there they thing this to too unexpected up value was
        well what when which while why with wrong you your work works working returned doing ones
        """,
    )
)
MISSING = object()


@dataclass(frozen=True)
class Reading:
    """One meaning of a written value."""

    value: object
    literal: bool
    """Whether the text was a Python literal (else it is taken as a string)."""

    @property
    def source(self) -> str:
        return repr(self.value)


def literal(text: str) -> object:
    """The value of a Python literal (`set()` included), or MISSING."""
    stripped = text.strip()
    if stripped == "set()":
        return set()
    if len(stripped) > 4000 or ("..." in stripped and not stripped.startswith(("'", '"'))):
        return MISSING
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value: object = ast.literal_eval(stripped)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return MISSING
    return MISSING if value is ... else value


def readings(said: Said) -> list[Reading]:
    """Every meaning, likeliest first; empty when it can mean nothing exact."""
    text = said.text.strip()
    if said.form == Form.PRINTED:
        inner = literal(text)
        shown = Reading(said.text.rstrip("\n"), False)
        return [shown] if inner is MISSING else [shown, Reading(inner, True)]
    if said.form == Form.QUOTED:
        inner = literal(text)
        found = [Reading(text, False)]
        return found if inner is MISSING else [*found, Reading(inner, True)]
    if said.form == Form.BARE and text.lower() in IN_WORDS:
        return [Reading(IN_WORDS[text.lower()], True), Reading(text, False)]
    value = literal(text)
    if value is not MISSING:
        return [Reading(value, True), Reading(text, False)]
    if said.form == Form.CODE and text.lower() in IN_WORDS and " " not in text:
        return [Reading(IN_WORDS[text.lower()], True), Reading(text, False)]
    return [] if not text or _looks_like_object(text) else [Reading(text, False)]


def _looks_like_object(text: str) -> bool:
    return bool(re.match(r"<.* at 0x|<[\w.]+ object|[\w.]+\(.*\)$", text)) or text.endswith("...")


def choose(
    expected: Said, actual: Said | None, returns: str = "", arguments: tuple[str, ...] = ()
) -> tuple[Reading | None, Reading | None]:
    """The pair of readings that agrees best: in type, with the annotation, and in not being equal.

    `arguments` are the call's string arguments: a value without quotes that resembles them is a string.
    """
    ours = readings(expected)
    theirs = readings(actual) if actual else []
    if not ours:
        return None, theirs[0] if theirs else None
    if not theirs:
        best = min(
            ours, key=lambda r: ours.index(r) + 3 * _against_annotation(r, returns) + _against_arguments(r, arguments)
        )
        return best, None
    pairs = [(e, a) for e in ours for a in theirs]

    def cost(pair: tuple[Reading, Reading]) -> float:
        e, a = pair
        return (
            ours.index(e)
            + 0.9 * theirs.index(a)
            + 3 * (not _alike(e.value, a.value))
            + 5 * _same(e.value, a.value)
            + 2 * _against_annotation(e, returns)
        )

    return min(pairs, key=cost)


def _alike(one: object, other: object) -> bool:
    numbers = (int, float, complex)
    if isinstance(one, bool) or isinstance(other, bool):
        return isinstance(one, bool) and isinstance(other, bool)
    if isinstance(one, numbers) and isinstance(other, numbers):
        return True
    return type(one) is type(other)


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _against_annotation(reading: Reading, returns: str) -> bool:
    kinds: dict[str, tuple[type, ...]] = {
        "str": (str,), "int": (int,), "float": (int, float), "bool": (bool,), "bytes": (bytes,),
    }  # fmt: skip
    kind = kinds.get(returns)
    return kind is not None and not isinstance(reading.value, kind)


def _against_arguments(reading: Reading, arguments: tuple[str, ...]) -> bool:
    return False if not arguments or reading.literal else not any(alike(str(reading.value), a) for a in arguments)


def alike(one: str, other: str) -> bool:
    """Whether two texts share most of their characters in order."""
    return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio() >= 0.5


def plausible_bare(text: str, others: tuple[str, ...]) -> bool:
    """Whether unmarked words can be a value: they resemble another value or argument, or are no ordinary English."""
    text = text.strip()
    words = text.split()
    if not words or len(text) > 80:
        return False
    if text.lower() in IN_WORDS or literal(text) is not MISSING:
        return True
    if any(alike(text, other) for other in others if other) and not {w.lower() for w in words} <= STOPWORDS - {"a"}:
        return True
    return len(words) == 1 and bool(re.search(r"[\d_\-./:@#%]", text)) and text.lower() not in STOPWORDS


def tolerance(said: Said, expected: object, actual: object) -> float | None:
    """How far a float may be off, or None for exact equality.

    Reports round. A value said to be rough may differ in the last digit written; any other float may differ by float
    noise, unless the noise itself is what the report is about (0.30000000000000004 for 0.3).
    """
    if not isinstance(expected, float) or isinstance(expected, bool):
        return None
    digits = re.search(r"\.(\d+)", said.text)
    allowed = 0.5 * 10 ** -len(digits.group(1)) if said.roughly and digits else max(1e-9, abs(expected) * 1e-6)
    if isinstance(actual, int | float) and abs(actual - expected) <= allowed:
        return None
    return allowed
