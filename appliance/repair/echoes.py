"""What an edit does to a line: code says the same thing again in its file, and seldom the same thing twice in a line.

A line that stands elsewhere in the file as the edit would have it was most likely meant here too: most changes are made
of lines that were there before (Barr et al. 2014, "The plastic surgery hypothesis"). Of two equal operands or
arguments (`a and a`, `x - x`) one was most likely meant otherwise; what is set to itself or denied twice says nothing.
"""

from __future__ import annotations

import ast
import bisect
from collections import Counter

from appliance.repair.edits import Edit
from appliance.repair.source import Source
from appliance.repair.templates import changed_line

SHORTEST = 8
"""Characters, blanks aside, of a line that says something when it stands elsewhere too."""
FORMS = ("{}", "{} pass", "if 1: pass\n{} pass", "try: pass\n{} pass")
"""How a line that is not a whole statement becomes one: with a body, after an `if`, after a `try`."""
MOST = 2
NEAR = 4
"""Lines that are looked at for the one beside."""


class Echoes:
    """Looks at edits of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._plain = [plain(line) for line in source.text.split("\n")]
        self._lines = Counter(self._plain)
        self._counts: dict[str, tuple[int, int]] = {}

    def twin(self, edit: Edit) -> float:
        """1 when the new line stands elsewhere in the file and the old one does not; -1 the other way round, and where
        the new line says what the one beside it says: two branches that do the same need no condition."""
        old, new = (plain(text) for text in changed_line(self._source, edit))
        if min(len(old), len(new)) < SHORTEST:
            return 0.0
        if new in self._beside(edit):
            return -1.0
        return float((self._lines[new] > 0) - (self._lines[old] > 1))

    def _beside(self, edit: Edit) -> set[str]:
        """The lines before and after the changed ones; of a line that only parts two branches, the one beyond it."""
        first = bisect.bisect_right(self._source.starts, min(start for start, _, _ in edit.spans)) - 1
        last = bisect.bisect_right(self._source.starts, max(end for _, end, _ in edit.spans))
        sides = (reversed(self._plain[max(0, first - NEAR) : first]), self._plain[last : last + NEAR])
        return {next(filter(_says, lines), "") for lines in sides}

    def doubled(self, edit: Edit) -> float:
        """How many more pairs of equal operands or arguments there are with the edit."""
        return self._more(edit, 0)

    def hollow(self, edit: Edit) -> float:
        """How many more comparisons and sums of mere constants, names set to themselves and denials denied there are
        with the edit."""
        return self._more(edit, 1)

    def _more(self, edit: Edit, which: int) -> float:
        old, new = changed_line(self._source, edit)
        return float(max(-MOST, min(MOST, self._count(new)[which] - self._count(old)[which])))

    def _count(self, line: str) -> tuple[int, int]:
        line = line.strip()
        if line not in self._counts:
            self._counts[line] = said_in_vain(line)
        return self._counts[line]


def _says(line: str) -> bool:
    return bool(line) and line not in ("else:", "finally:", "try:")


def plain(line: str) -> str:
    """A line without blanks, and without its comment where no text can hold the sign."""
    if "'" not in line and '"' not in line:
        line = line.partition("#")[0]
    return "".join(line.split())


def said_in_vain(line: str) -> tuple[int, int]:
    """How many operands of a condition, a comparison or a difference, and arguments are equal; and how much comes out
    the same always (comparisons and sums of constants alone) or changes nothing."""
    tree = next((tree for form in FORMS if (tree := _parsed(form.format(line)))), None)
    nodes = list(ast.walk(tree)) if tree else []
    return sum(map(_equal, nodes)), sum(map(_constant, nodes))


def _constant(node: ast.AST) -> bool:
    match node:
        case ast.Compare(left=left, comparators=others):
            return all(isinstance(one, ast.Constant) for one in (left, *others))
        case ast.BinOp(left=ast.Constant(), right=ast.Constant()):
            return True
        case ast.BoolOp(values=parts):
            return any(isinstance(one, ast.Constant) for one in parts[:-1])
        case ast.Assign(targets=[target], value=value):
            return ast.unparse(target) == ast.unparse(value)
        case ast.UnaryOp(op=ast.Not(), operand=ast.UnaryOp(op=ast.Not())):
            return True
        case ast.If(test=ast.Constant(value=value)) | ast.While(test=ast.Constant(value=value)):
            return not isinstance(value, bool) and value != 1
    return False


def _equal(node: ast.AST) -> int:
    match node:
        case ast.BoolOp(values=parts):
            return _repeated(parts)
        case ast.Compare(left=left, comparators=others):
            return _repeated([left, *others])
        case ast.BinOp(left=left, op=op, right=right) if not isinstance(op, ast.Mult | ast.Pow):
            return _repeated([part for part in (left, right) if not isinstance(part, ast.Constant)])
        case ast.Call(args=arguments):
            return _repeated([one for one in arguments if not isinstance(one, ast.Constant)])
    return 0


def _repeated(parts: list[ast.expr]) -> int:
    return len(parts) - len({ast.dump(part) for part in parts})


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None
