"""Operators, constants, and off-by-one: the commonest one-place bugs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from appliance.repair.templates.place import Change, Place, bracketed

COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip

INSTEAD: dict[str, tuple[str, ...]] = {
    "<": ("<=", ">", ">=", "!=", "=="), "<=": ("<", ">=", ">", "==", "!="), ">": (">=", "<", "<=", "!=", "=="),
    ">=": (">", "<=", "<", "==", "!="), "==": ("!=", "<=", ">=", "<", ">", "is"), "!=": ("==", "<", ">", "<=", ">="),
    "is": ("is not", "=="), "is not": ("is", "!="), "in": ("not in", "=="), "not in": ("in", "!="),
}  # fmt: skip

ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip

OTHER_ARITHMETIC: dict[str, tuple[str, ...]] = {
    "+": ("-", "*", "|"), "-": ("+", "/", "*", "%"), "*": ("/", "+", "**", "//", "-"), "/": ("//", "*", "%", "-"),
    "//": ("/", "%", "*"), "%": ("//", "/", "*", "-"), "**": ("*", "<<"), "&": ("|", "^", "-"), "|": ("&", "^", "+"),
    "^": ("&", "|", "**"), "<<": (">>", "*"), ">>": ("<<", "//"),
}  # fmt: skip


def comparisons(place: Place) -> Iterator[Change]:
    """`<` for `<=` and so on, one operator of a chain at a time."""
    for node in place.nodes:
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            for left, operator, right in zip(operands, node.ops, operands[1:], strict=False):
                old = COMPARE[type(operator)]
                for new in INSTEAD[old]:
                    span = place.between(left, right, old, new)
                    if span:
                        yield Change("comparison", (span,))
            if len(node.ops) == 1:
                yield place.swap("swapped sides", node.left, place.text(node.comparators[0]))._replace(
                    spans=(
                        (*place.source.span(node.left), place.text(node.comparators[0])),
                        (*place.source.span(node.comparators[0]), place.text(node.left)),
                    )
                )


def arithmetic(place: Place) -> Iterator[Change]:
    """Another operator, swapped operands, a dropped operand; also for augmented assignment."""
    for node in place.nodes:
        if isinstance(node, ast.BinOp):
            old = ARITHMETIC.get(type(node.op))
            for new in OTHER_ARITHMETIC.get(old or "", ()):
                span = place.between(node.left, node.right, old or "", new)
                if span:
                    yield Change("arithmetic operator", (span,))
            left, right = place.text(node.left), place.text(node.right)
            template = "dropped step" if old in ("+", "-") and right in ("1", "2") else "dropped operand"
            yield place.swap(template, node, bracketed(left, node.left))
            yield place.swap("dropped operand", node, bracketed(right, node.right))
            if old in ("-", "/", "//", "%", "**", "<<", ">>", "+"):
                spans = ((*place.source.span(node.left), right), (*place.source.span(node.right), left))
                yield Change("swapped operands", spans)
        if isinstance(node, ast.AugAssign):
            old = ARITHMETIC.get(type(node.op), "")
            for new in (*OTHER_ARITHMETIC.get(old, ()), ""):
                span = place.between(node.target, node.value, f"{old}=", f"{new}=")
                if span:
                    yield Change("augmented operator", (span,))


def booleans(place: Place) -> Iterator[Change]:
    """`and` for `or`, a dropped operand, an added or dropped `not`."""
    for node in place.nodes:
        if isinstance(node, ast.BoolOp):
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values, node.values[1:], strict=False):
                span = place.between(left, right, old, new)
                if span:
                    yield Change("boolean operator", (span,))
            for gone in node.values:
                rest = [bracketed(place.text(one), one) for one in node.values if one is not gone]
                yield place.swap("dropped condition", node, f" {old} ".join(rest))
            for one in node.values:
                yield negated(place, one)
        if isinstance(node, ast.UnaryOp):
            template = "dropped not" if isinstance(node.op, ast.Not) else "dropped sign"
            yield place.swap(template, node, bracketed(place.text(node.operand), node.operand))
        test = getattr(node, "test", None)
        if isinstance(test, ast.expr):
            yield negated(place, test)
            for constant in ("True", "False"):
                yield place.swap("constant condition", test, constant)
        for condition in getattr(node, "ifs", ()):
            yield negated(place, condition)


def negated(place: Place, node: ast.expr) -> Change:
    """`not x` for `x`."""
    return place.swap("negated condition", node, f"not {bracketed(place.text(node), node)}")


def constants(place: Place) -> Iterator[Change]:
    """Another constant: near in value, usual, or one that the function uses elsewhere."""
    for node in place.nodes:
        if isinstance(node, ast.Constant) and not _docstring(place, node):
            seen = {place.text(node)}
            for template, new in _instead(place, node):
                if new not in seen:
                    seen.add(new)
                    yield place.swap(template, node, new)


def _docstring(place: Place, node: ast.Constant) -> bool:
    parent = place.source.parent(node)
    return isinstance(parent, ast.Expr) or isinstance(node.value, bytes | complex) or node.value is Ellipsis


def _instead(place: Place, node: ast.Constant) -> Iterator[tuple[str, str]]:
    """Template and text of other constants. A slip of one, or of a sign, a letter or a blank, is the commonest."""
    value = node.value
    near: list[object] = []
    usual: list[str] = []
    if isinstance(value, bool) or value is None:
        near = [not value] if isinstance(value, bool) else []
        usual = ["True", "False", "None", "0", "[]", '""']
    elif isinstance(value, int | float):
        near = [value + 1, value - 1, *([-value] if abs(value) == 1 else [])]
        usual = [repr(number) for number in (0, 1, 2, -1, -value, value * 2, value * 10)]
        if isinstance(value, int):
            usual += [repr(value // 2), repr(value // 10)]
    elif isinstance(value, str):
        near = [value.strip(), f"{value} ", *([value[1:], value[:-1]] if len(value) > 1 else [])]
        usual = ['""', '" "', repr(value.lower()), repr(value.upper())]
    yield from (("constant", repr(one)) for one in near)
    yield from (("usual constant", text) for text in usual)
    same = [other.value for other in place.constants if type(other.value) is type(value) and other.value != value]
    yield from (("known constant", repr(other)) for other in same[:12])


def off_by_one(place: Place) -> Iterator[Change]:
    """One more or one less, where places and counts are used: indexes, slices, ranges, bounds, results."""
    for node in place.nodes:
        for spot in _counting(node):
            if isinstance(spot, ast.Constant) and not isinstance(spot.value, int):
                continue
            if isinstance(spot, ast.Constant):
                continue  # `constants` has these
            text = bracketed(place.text(spot), spot) if not isinstance(spot, ast.BinOp) else place.text(spot)
            for step in ("+ 1", "- 1"):
                yield place.swap("off by one", spot, f"{text} {step}")


def _counting(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Subscript):
        inner = node.slice
        if isinstance(inner, ast.Slice):
            return [one for one in (inner.lower, inner.upper, inner.step) if one]
        return [inner] if isinstance(inner, ast.Name | ast.BinOp | ast.Call | ast.Attribute) else []
    if isinstance(node, ast.Call):
        return [one for one in node.args if isinstance(one, ast.Name | ast.BinOp | ast.Call | ast.Attribute)]
    if isinstance(node, ast.Compare):
        return [
            one
            for one in (node.left, *node.comparators)
            if isinstance(one, ast.Name | ast.BinOp | ast.Call | ast.Attribute)
        ]
    if isinstance(node, ast.BinOp):
        return [
            one
            for one in (node.left, node.right)
            if isinstance(one, ast.Name | ast.Call | ast.Attribute | ast.Subscript)
        ]
    if isinstance(node, ast.Return | ast.Assign | ast.AugAssign) and isinstance(node.value, ast.expr):
        return (
            [node.value]
            if isinstance(node.value, ast.Name | ast.BinOp | ast.Call | ast.Subscript | ast.Attribute)
            else []
        )
    return []


def slices(place: Place) -> Iterator[Change]:
    """Bounds added, dropped or mirrored; an index for a slice."""
    for node in place.nodes:
        if not isinstance(node, ast.Subscript):
            continue
        inner = node.slice
        if isinstance(inner, ast.Slice):
            parts = [place.text(one) if one else "" for one in (inner.lower, inner.upper)]
            step = f":{place.text(inner.step)}" if inner.step else ""
            start, end = place.source.span(node.value)[1], place.source.span(node)[1]
            texts = [f"[{parts[0]}:]", f"[:{parts[1]}]", "[:]", "[::-1]", f"[{parts[1]}:{parts[0]}]", f"[1:{parts[1]}]",
                     f"[{parts[0]}:-1]", f"[{parts[0]}:{parts[1]}]", f"[:{parts[0]}]", f"[{parts[1]}:]"]  # fmt: skip
            for name in place.assigned_before[:8]:  # a bound forgotten
                texts += [f"[{name}:{parts[1]}]"] if not parts[0] else []
                texts += [f"[{parts[0]}:{name}]"] if not parts[1] else []
            for text in dict.fromkeys(texts):
                yield Change("slice", ((start, end, text if not step else text[:-1] + step + "]"),))
        elif isinstance(inner, ast.expr) and not isinstance(inner, ast.Tuple):
            for text in ("0", "-1", "1", "-2", f"-{place.text(inner)}"):
                if text != place.text(inner):
                    yield place.swap("subscript", inner, text)
