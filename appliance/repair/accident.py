"""How often a wrong edit passes the known tests by accident.

It hangs on two things. An edit that steers (a condition, a return put in, a statement moved) passes often where it
merely leads round the fault, and so does one that leaves code out: what is not run cannot fail (Qi et al. 2015, "An
analysis of patch plausibility and correctness"). One that changes what is computed has to hit the very answer. And the
fewer tests run the edited line, the less there is to hit. Where a condition may as well be a constant, what passes in
its place is no news at all. Measured on seeded slips in modules that no figure of the box is taken from: 12 of 96 bugs
had a wrong edit that leaves code out among the 5,000 of them tried, and 23 had one among 85,000 others.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence

from appliance.repair.edits import Edit
from appliance.repair.localise import Fault
from appliance.repair.source import Source
from appliance.repair.spectrum import Line

STEERING = ((1, 0.01), (3, 0.006), (6, 0.002), (10**9, 0.0007))
"""Share of wrong edits of conditions, of the order of statements, and of those that leave code out, that pass all the
same, by how many known tests run the line."""
COMPUTING = ((1, 0.002), (3, 0.001), (6, 0.0005), (10**9, 0.0001))
"""The same for all other edits."""
FORCED = 0.3
"""Share of wrong edits of a condition that pass where the condition may as well be always true or never: the tests see
only one of its two ways, and every edit that leads there passes. An estimate from a few of them."""
CONSTANT = "constant condition"
MOVES = frozenset(
    {
        CONSTANT,
        "copied statement",
        "deleted statement",
        "doubled statement",
        "flow",
        "if for elif",
        "inserted copy",
        "inserted flow",
        "inserted guard",
        "inserted return",
        "inserted step",
        "loop for condition",
        "moved inside",
        "moved outside",
        "one branch",
        "one branch kept",
        "swapped branches",
        "swapped statements",
        "unconditional",
    }
)
"""Templates that change which statements run."""
LEAVES_OUT = frozenset(
    {
        "dropped argument",
        "dropped attribute",
        "dropped condition",
        "dropped method",
        "dropped not",
        "dropped operand",
        "dropped sign",
        "dropped step",
        "dropped subscript",
        "unwrapped call",
    }
)
"""Templates that leave a part of what is computed out."""


def accident(fault: Fault, edit: Edit, forced: Collection[Line] = ()) -> float:
    """The share of wrong edits like this one that pass. `forced` are statements whose condition tests do not need."""
    return max(
        by_witnesses(STEERING if steers(fault.sources[part.path], part) else COMPUTING, witnesses(fault, part))
        if (part.path, part.line) not in forced or not conditional(fault.sources[part.path], part)
        else FORCED
        for part in edit.all
    )


def conditional(source: Source, edit: Edit) -> bool:
    """Whether an edit changes a condition and nothing else."""
    tests = [source.span(test) for test in _tests(source.function_at(edit.line).node)]
    return all(any(first <= start and end <= last for first, last in tests) for start, end, _ in edit.spans)


def steers(source: Source, edit: Edit) -> bool:
    """Whether an edit changes which statements run or leaves out what they compute, and computes nothing else."""
    if edit.template in MOVES or edit.template in LEAVES_OUT:
        return True
    return conditional(source, edit)


def _tests(function: ast.AST) -> Iterator[ast.expr]:
    """What the function branches on."""
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
            yield node.test
        elif isinstance(node, ast.comprehension):
            yield from node.ifs


def witnesses(fault: Fault, edit: Edit) -> int:
    """How many known tests run the edited line, or its function where the line is not among those that are traced."""
    function = fault.sources[edit.path].function_at(edit.line)
    spectrum = fault.spectrum
    ran = [lines for covered in (spectrum.failing, spectrum.passing) for lines in covered.values()]
    first = function.node.body[0].lineno
    return sum((edit.path, edit.line) in lines for lines in ran) or sum(
        any(path == edit.path and first <= line <= function.last for path, line in lines) for lines in ran
    )


def by_witnesses(table: Sequence[tuple[int, float]], count: int) -> float:
    """The table's value for so many tests that run the edited code."""
    return next(value for most, value in table if count <= most)
