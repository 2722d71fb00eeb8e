"""What an edit does to a line: code says the same thing again in its file, and seldom the same thing twice in a line.

A line that stands elsewhere in the file as the edit would have it was most likely meant here too: most changes are made
of lines that were there before (Barr et al. 2014, "The plastic surgery hypothesis"). And of two equal operands or
arguments (`a and a`, `x - x`, `x = x`) one was most likely meant otherwise.
"""

from __future__ import annotations

import ast
from collections import Counter

from appliance.repair.edits import Edit
from appliance.repair.source import Source
from appliance.repair.templates import changed_line

SHORTEST = 8
"""Characters, blanks aside, of a line that says something when it stands elsewhere too."""
FORMS = ("{}", "{} pass", "if 1: pass\n{} pass", "try: pass\n{} pass")
"""How a line that is not a whole statement becomes one: with a body, after an `if`, after a `try`."""
MOST = 2


class Echoes:
    """Looks at edits of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lines = Counter(plain(line) for line in source.text.split("\n"))
        self._pairs: dict[str, int] = {}

    def twin(self, edit: Edit) -> float:
        """1 when the new line stands elsewhere in the file and the old one does not; -1 the other way round."""
        old, new = (plain(text) for text in changed_line(self._source, edit))
        if min(len(old), len(new)) < SHORTEST:
            return 0.0
        return float((self._lines[new] > 0) - (self._lines[old] > 1))

    def doubled(self, edit: Edit) -> float:
        """How many more pairs of equal operands or arguments there are with the edit."""
        old, new = changed_line(self._source, edit)
        return float(max(-MOST, min(MOST, self._count(new) - self._count(old))))

    def _count(self, line: str) -> int:
        line = line.strip()
        if line not in self._pairs:
            self._pairs[line] = equal_pairs(line)
        return self._pairs[line]


def plain(line: str) -> str:
    """A line without blanks, and without its comment where no text can hold the sign."""
    if "'" not in line and '"' not in line:
        line = line.partition("#")[0]
    return "".join(line.split())


def equal_pairs(line: str) -> int:
    """Equal operands of a condition, a comparison or a difference, equal arguments, and names set to themselves."""
    tree = next((tree for form in FORMS if (tree := _parsed(form.format(line)))), None)
    return sum(map(_equal, ast.walk(tree))) if tree else 0


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
        case ast.Assign(targets=[target], value=value):
            return int(ast.unparse(target) == ast.unparse(value))
    return 0


def _repeated(parts: list[ast.expr]) -> int:
    return len(parts) - len({ast.dump(part) for part in parts})


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError):
        return None
