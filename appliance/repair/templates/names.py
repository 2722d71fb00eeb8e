"""Wrong names: variables, attributes, functions, methods, arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from appliance.repair.source import FunctionNode
from appliance.repair.templates.place import Change, Place, bracketed

MOST = 14
"""Names tried in the place of one."""

FAMILIES: tuple[tuple[str, ...], ...] = (
    ("min", "max", "sum", "len", "abs"),
    ("any", "all"),
    ("sorted", "reversed", "list", "set", "tuple"),
    ("int", "float", "round", "abs", "str"),
    ("ceil", "floor", "trunc"),
    ("log", "log2", "log10", "log1p"),
    ("sin", "cos", "tan"),
    ("upper", "lower", "title", "capitalize", "swapcase", "casefold"),
    ("startswith", "endswith"),
    ("find", "rfind", "index", "rindex"),
    ("strip", "lstrip", "rstrip"),
    ("split", "rsplit", "splitlines", "partition", "rpartition"),
    ("partition", "rpartition"),
    ("append", "extend", "insert", "appendleft", "add"),
    ("pop", "popleft", "remove", "discard"),
    ("extend", "extendleft", "update"),
    ("keys", "values", "items"),
    ("get", "setdefault", "pop"),
    ("union", "intersection", "difference", "symmetric_difference"),
    ("issubset", "issuperset", "isdisjoint"),
    ("isdigit", "isalpha", "isalnum", "isdecimal", "isnumeric", "isidentifier"),
    ("isupper", "islower", "istitle", "isspace"),
    ("ljust", "rjust", "center", "zfill"),
    ("encode", "decode"),
    ("heappush", "heappop", "heapreplace", "heappushpop"),
    ("bisect_left", "bisect_right", "bisect", "insort"),
    ("first", "last"),
    ("read", "readline", "readlines"),
    ("match", "search", "fullmatch"),
    ("findall", "finditer"),
    ("year", "month", "day"),
    ("seconds", "days", "total_seconds"),
    ("numerator", "denominator"),
    ("real", "imag"),
    ("start", "stop", "step", "end"),
    ("hasattr", "getattr"),
    ("isinstance", "issubclass"),
    ("permutations", "combinations", "product"),
    ("ord", "chr"),
    ("head", "tail"),
    ("left", "right"),
    ("low", "high"),
    ("lower", "upper"),
    ("rows", "columns"),
    ("width", "height"),
    ("x", "y"),
    ("prev", "next"),
    ("begin", "end"),
)
"""Names that are taken for one another."""

EXCEPTIONS = (
    "ValueError",
    "TypeError",
    "KeyError",
    "IndexError",
    "AttributeError",
    "ZeroDivisionError",
    "LookupError",
    "Exception",
    "StopIteration",
    "NotImplementedError",
    "RuntimeError",
    "OSError",
    "ArithmeticError",
    "OverflowError",
    "UnicodeError",
)

WRAPPERS = ("abs", "len", "int", "str", "list", "sorted", "set", "tuple", "float", "sum", "bool", "round")
METHODS = ("copy()", "strip()", "lower()", "upper()", "items()", "keys()", "values()")


def variables(place: Place) -> Iterator[Change]:
    """Another variable, an attribute of self for a variable and the other way round; `self` itself where the class has
    the attribute that is asked of a variable."""
    for node in place.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            parent = place.source.parent(node)
            if isinstance(parent, ast.Call) and parent.func is node:
                continue
            others = [name for name in (*place.assigned_before, *place.globals) if name != node.id]
            for name in dict.fromkeys(others[:MOST]):
                template = "variable" if name in place.assigned_before else "global variable"
                yield place.swap(template, node, name)
            for attribute in place.attributes[:6]:
                yield place.swap("variable", node, f"self.{attribute}")
            if node.id != "self" and isinstance(parent, ast.Attribute) and parent.attr in place.attributes:
                yield place.swap("variable", node, "self")
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            for name in [name for name in place.names if name != node.id][:6]:
                yield place.swap("assignment target", node, name)


def attributes(place: Place) -> Iterator[Change]:
    """Another attribute of the same object, by its class or by its family."""
    for node in place.nodes:
        if not isinstance(node, ast.Attribute):
            continue
        own = isinstance(node.value, ast.Name) and node.value.id == "self"
        others = [*relatives(node.attr), *(place.attributes[:MOST] if own else ())]
        end = place.source.span(node)[1]
        start = end - len(node.attr)
        if place.source.text[start:end] != node.attr:
            continue
        for name in dict.fromkeys(others):
            if name != node.attr:
                template = "function" if _called(place, node) else "attribute"
                yield Change(template, ((start, end, name),))
        yield place.swap("dropped attribute", node, place.text(node.value))


def _called(place: Place, node: ast.expr) -> bool:
    parent = place.source.parent(node)
    return isinstance(parent, ast.Call) and parent.func is node


def relatives(name: str) -> list[str]:
    """Names of the same families."""
    return list(dict.fromkeys(other for family in FAMILIES if name in family for other in family if other != name))


def functions(place: Place) -> Iterator[Change]:
    """Another function: of its family, or of the module with as many parameters."""
    siblings = _siblings(place)
    for node in place.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            count = len(node.args) + len(node.keywords)
            others = [*relatives(node.func.id), *(name for name, low, high in siblings if low <= count <= high)]
            for name in dict.fromkeys(others[:MOST]):
                if name != node.func.id:
                    yield place.swap("function", node.func, name)


def _siblings(place: Place) -> list[tuple[str, int, int]]:
    found = []
    for node in place.source.tree.body:
        if isinstance(node, FunctionNode):
            count = len(node.args.args)
            found.append((node.name, count - len(node.args.defaults), 99 if node.args.vararg else count))
    return found


def arguments(place: Place) -> Iterator[Change]:
    """Arguments swapped, dropped, repeated, or added from what is in scope."""
    for node in place.nodes:
        if not isinstance(node, ast.Call):
            continue
        spots = [one for one in node.args if not isinstance(one, ast.Starred)]
        for index, one in enumerate(spots):
            for other in spots[index + 1 : index + 3]:
                spans = ((*place.source.span(one), place.text(other)), (*place.source.span(other), place.text(one)))
                yield Change("swapped arguments", spans)
        everything = [*node.args, *(keyword.value for keyword in node.keywords)]
        whole = [*(place.text(one) for one in node.args)]
        whole += [
            f"{keyword.arg}={place.text(keyword.value)}" if keyword.arg else f"**{place.text(keyword.value)}"
            for keyword in node.keywords
        ]
        start, end = place.source.span(node.func)[1], place.source.span(node)[1]
        for index in range(len(everything)):
            rest = ", ".join(whole[:index] + whole[index + 1 :])
            yield Change("dropped argument", ((start, end, f"({rest})"),))
        for name in place.assigned_before[:6]:
            if name not in whole:
                yield Change("added argument", ((start, end, f"({', '.join([*whole, name])})"),))


def wrapping(place: Place) -> Iterator[Change]:
    """A call around an expression, a method on it, a call taken away, one branch of a conditional expression."""
    for node in place.expressions:
        if isinstance(node, ast.Call):
            yield from _unwrapped(place, node)
        if isinstance(node, ast.IfExp):
            yield place.swap("one branch", node, bracketed(place.text(node.body), node.body))
            yield place.swap("one branch", node, bracketed(place.text(node.orelse), node.orelse))
            spans = (
                (*place.source.span(node.body), place.text(node.orelse)),
                (*place.source.span(node.orelse), place.text(node.body)),
            )
            yield Change("swapped branches", spans)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            yield place.swap("dropped subscript", node, place.text(node.value))
        if _worth_wrapping(place, node):
            yield from _wrapped(place, node)


def _unwrapped(place: Place, node: ast.Call) -> Iterator[Change]:
    if len(node.args) >= 1 and not isinstance(node.args[0], ast.Starred | ast.GeneratorExp):
        yield place.swap("unwrapped call", node, bracketed(place.text(node.args[0]), node.args[0]))
    if isinstance(node.func, ast.Attribute):
        yield place.swap("dropped method", node, place.text(node.func.value))


def _worth_wrapping(place: Place, node: ast.expr) -> bool:
    parent = place.source.parent(node)
    if not isinstance(node, ast.Name | ast.BinOp | ast.Call | ast.Attribute | ast.Subscript | ast.ListComp):
        return False
    if isinstance(parent, ast.Call):
        return node in parent.args
    return isinstance(
        parent,
        ast.Return | ast.Assign | ast.AugAssign | ast.For | ast.comprehension | ast.Compare | ast.BinOp | ast.Tuple,
    )


def _wrapped(place: Place, node: ast.expr) -> Iterator[Change]:
    text = place.text(node)
    for name in WRAPPERS:
        yield place.swap("wrapped in a call", node, f"{name}({text})")
    for method in METHODS:
        yield place.swap("wrapped in a method", node, f"{bracketed(text, node)}.{method}")
    yield place.swap("wrapped in a list", node, f"[{text}]")
    for index in ("0", "-1"):
        yield place.swap("added subscript", node, f"{bracketed(text, node)}[{index}]")
    yield place.swap("negated value", node, f"-{bracketed(text, node)}")


def conditions(place: Place) -> Iterator[Change]:
    """A condition made wider or narrower by a simple one over what is in scope."""
    for node in place.nodes:
        test = getattr(node, "test", None)
        if not isinstance(test, ast.expr):
            continue
        text = bracketed(place.text(test), test) if not isinstance(test, ast.Compare) else place.text(test)
        for name in place.assigned_before[:6]:
            for extra in (name, f"not {name}", f"{name} is None", f"{name} is not None", f"{name} == 0", f"{name} > 0"):
                yield place.swap("extended condition", test, f"{text} and {extra}")
                yield place.swap("extended condition", test, f"{text} or {extra}")


def exceptions(place: Place) -> Iterator[Change]:
    """Another exception, raised or caught."""
    caught = [handler.type for handler in getattr(place.statement, "handlers", ()) if handler.type]
    for node in (*place.nodes, *caught):
        if isinstance(node, ast.Name) and node.id in EXCEPTIONS:
            for name in EXCEPTIONS:
                if name != node.id:
                    yield place.swap("exception", node, name)
