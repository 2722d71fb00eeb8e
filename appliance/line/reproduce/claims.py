"""The nouns of a reproduction: what a report says, and what became of it.

A report makes `Claim`s: a call, what it should do and what it does. Each is kept *as written* (`Said`) until the
repository has been looked at, because only then can a value without quotes be read rightly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import Field

from appliance.work import NewTest, Noun


class Role(StrEnum):
    """What a value in a report is."""

    EXPECTED = "expected"
    ACTUAL = "actual"
    SHOWN = "shown"
    """An output without a word on whether it is right."""
    INPUT = "input"
    NONE = ""


class Form(StrEnum):
    """How a value is written, which decides the order in which its readings are tried."""

    CODE = "code"
    """In backticks, or a literal in running text."""
    QUOTED = "quoted"
    """In quotation marks in running text: perhaps a string, perhaps only emphasis."""
    BARE = "bare"
    """Words without any mark."""
    REPR = "repr"
    """What an interactive session shows."""
    PRINTED = "printed"
    """What `print` shows."""
    EXCEPTION = "exception"
    HOLDS = "holds"
    """Only that the expression is true."""


@dataclass(frozen=True)
class Said:
    """One value or exception, as written."""

    text: str
    form: Form
    roughly: bool = False


@dataclass
class Claim:
    """What a report says about one call; filled while the report is read."""

    calls: list[str] = field(default_factory=list)
    expected: Said | None = None
    actual: Said | None = None
    shown: Said | None = None
    inputs: list[Said] = field(default_factory=list)
    setup: tuple[str, ...] = ()
    hangs: bool = False
    function: str = ""
    origin: str = ""

    @property
    def empty(self) -> bool:
        return not (self.expected or self.actual or self.shown or self.hangs)

    def give(self, role: Role, said: Said) -> bool:
        """Fill the slot of `role` when it is free; whether that was so."""
        if role == Role.INPUT:
            self.inputs.append(said)
            return True
        if role == Role.NONE or getattr(self, role.value) is not None:
            return False
        setattr(self, role.value, said)
        return True


class Example(Noun):
    """One claim after resolution: what one test function of the reproduction asserts."""

    test: str = Field(description="name of the test function (with its class, pytest style)")
    call: str = Field(description="the expression, as it stands in the test")
    function: str = Field(description="path::name of the definition it exercises")
    expected: str = Field("", description="printed expected value; empty when only an exception is at stake")
    actual: str = Field("", description="printed value the report says comes out; empty when it names none")
    raises: str = Field("", description="exception the call should raise")
    exception: str = Field("", description="exception the report says is raised now")
    hangs: bool = False
    confidence: float = 0.0
    origin: str = ""


class Reproduction(Noun):
    """Tests derived from a report, or why there are none."""

    tests: tuple[NewTest, ...] = ()
    test_ids: tuple[str, ...] = Field((), description="ids of the new test functions, as pytest names them")
    examples: tuple[Example, ...] = ()
    mentions: tuple[str, ...] = Field((), description="identifiers, files and file:line the report names")
    expected: str = Field("", description="of the first example, printed")
    actual: str = Field("", description="of the first example, printed")
    confidence: float = Field(0.0, description="0..1: how surely the tests say what the report says")
    why: str = ""
