"""Expressions from a report: found as text, admitted by a list of allowed syntax, never evaluated here.

A report is a stranger's text. An expression enters a test only when it is made of literals, operators, calls and
attributes that start at a name *defined in the repository*, a value the report itself assigned, or a harmless
built-in. Everything else (imports, double-underscore names, `eval`, modules reached through modules …) is refused.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass, field

from appliance.line.reproduce.index import Definition, Index

MAX_LENGTH = 600
MAX_NODES = 200

SAFE_BUILTINS = frozenset({
    "abs", "all", "any", "bool", "bytes", "complex", "dict", "divmod", "enumerate", "float", "frozenset", "int", "len",
    "list", "max", "min", "next", "iter", "range", "repr", "reversed", "round", "set", "sorted", "str", "sum", "tuple",
    "zip", "type", "isinstance",
})  # fmt: skip
VALUE_TYPES = {
    "Decimal": "decimal", "Fraction": "fractions", "date": "datetime", "datetime": "datetime", "time": "datetime",
    "timedelta": "datetime", "timezone": "datetime", "OrderedDict": "collections", "Counter": "collections",
    "deque": "collections", "UUID": "uuid", "StringIO": "io", "BytesIO": "io",
}  # fmt: skip
VALUE_MODULES = {
    "math": frozenset({"inf", "nan", "pi", "e", "tau"}), "decimal": frozenset({"Decimal"}),
    "fractions": frozenset({"Fraction"}), "uuid": frozenset({"UUID"}), "io": frozenset({"StringIO", "BytesIO"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "collections": frozenset({"OrderedDict", "Counter", "deque"}),
}  # fmt: skip
REFUSED_ATTRIBUTES = frozenset({
    "format", "format_map", "system", "popen", "spawn", "fork", "kill", "unlink", "rmtree", "remove_tree", "exec",
    "eval", "mro", "gi_frame", "cr_frame", "f_globals", "f_builtins", "func_globals",
})  # fmt: skip
ALLOWED_NODES: tuple[type[ast.AST], ...] = (
    ast.Constant, ast.Name, ast.Load, ast.Store, ast.Call, ast.keyword, ast.Attribute, ast.List, ast.Tuple, ast.Set,
    ast.Dict, ast.UnaryOp, ast.unaryop, ast.BinOp, ast.operator, ast.BoolOp, ast.boolop, ast.Compare, ast.cmpop,
    ast.Subscript, ast.Slice, ast.Starred, ast.Lambda, ast.arguments, ast.arg, ast.ListComp, ast.GeneratorExp,
    ast.SetComp, ast.DictComp, ast.comprehension, ast.IfExp,
)  # fmt: skip

_CALL_START = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\(")
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


class Refused(Exception):
    """Why an expression may not enter a test."""


@dataclass
class Imports:
    """What the test must import: module → names, and definitions the expressions touch."""

    names: dict[str, set[str]] = field(default_factory=dict)
    definitions: list[Definition] = field(default_factory=list)

    def add(self, module: str, name: str) -> None:
        self.names.setdefault(module, set()).add(name)


@dataclass(frozen=True)
class Hints:
    """What the report says about where names come from."""

    modules: frozenset[str] = frozenset()
    """Modules and paths it names."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Name in the report → dotted name it stands for, from import lines."""


def parse(text: str) -> ast.expr | None:
    """The expression a text is, or None. Never raises on strange text."""
    if len(text) > MAX_LENGTH:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def balanced(text: str, start: int) -> int:
    """End of the bracket that opens at `start`, strings understood; -1 when it never closes."""
    stack: list[str] = []
    quote = ""
    position = start
    while position < min(len(text), start + MAX_LENGTH):
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif text.startswith(quote, position):
                position += len(quote) - 1
                quote = ""
        elif char in "\"'":
            quote = char * 3 if text.startswith(char * 3, position) else char
            position += len(quote) - 1
        elif char in _CLOSERS:
            stack.append(_CLOSERS[char])
        elif stack and char == stack[-1]:
            stack.pop()
            if not stack:
                return position + 1
        position += 1
    return -1


def call_at(text: str, start: int = 0) -> tuple[str, int] | None:
    """The call (with what is chained to it) that begins at `start`, and its end."""
    match = _CALL_START.match(text, start)
    if not match:
        return None
    end = balanced(text, match.end() - 1)
    if end < 0:
        return None
    while end < len(text):
        if text[end] in "[(":
            further = balanced(text, end)
        else:
            chained = re.compile(r"\.[A-Za-z_]\w*").match(text, end)
            further = chained.end() if chained else -1
        if further < 0 or parse(text[start:further]) is None:
            break
        end = further
    return text[start:end], end


def calls_in(node: ast.AST) -> list[ast.Call]:
    """Every call inside, outermost first."""
    return [n for n in ast.walk(node) if isinstance(n, ast.Call)]


class Resolver(ast.NodeTransformer):
    """Admits one expression: refuses what is not allowed and rewrites names to what the test imports."""

    def __init__(self, index: Index, hints: Hints, local: frozenset[str] = frozenset()) -> None:
        self.index = index
        self.hints = hints
        self.local = set(local)
        self.imports = Imports()

    def admit(self, text: str) -> ast.expr:
        """The expression rewritten for the test. Raises Refused."""
        node = parse(text)
        if node is None:
            raise Refused(f"`{text[:80]}` is not a Python expression")
        nodes = list(ast.walk(node))
        if len(nodes) > MAX_NODES:
            raise Refused("the expression is too large")
        for inner in nodes:
            if not isinstance(inner, ALLOWED_NODES):
                raise Refused(f"`{type(inner).__name__}` is not allowed in a test from a report")
        self.local |= _bound_inside(nodes)
        result = self.visit(node)
        assert isinstance(result, ast.expr)
        return result

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.local or isinstance(node.ctx, ast.Store):
            _check_name(node.id)
            return node
        dotted = dict(self.hints.aliases).get(node.id, node.id)
        if "." in dotted:
            found = self._from_dotted(dotted.split("."))
            if found:
                return found[0]
        name = dotted.rsplit(".", 1)[-1]
        if name in self.index.definitions:
            return ast.Name(self._import(name), ast.Load())
        if name in VALUE_TYPES:
            self.imports.add(VALUE_TYPES[name], name)
            return ast.Name(name, ast.Load())
        if name in SAFE_BUILTINS:
            return ast.Name(name, ast.Load())
        raise Refused(self._unknown(name))

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if not self._own_method(node):
            _check_name(node.attr)
        chain = _dotted(node)
        if chain and chain[0] not in self.local and chain[0] not in self.index.definitions:
            replaced = self._from_dotted([*dict(self.hints.aliases).get(chain[0], chain[0]).split("."), *chain[1:]])
            if replaced:
                name, rest = replaced
                return self._attributes(name, rest)
            if len(chain) == 2 and chain[1] in VALUE_MODULES.get(chain[0], frozenset()):
                self.imports.add(chain[0], chain[1])
                return ast.Name(chain[1], ast.Load())
        if chain and chain[0] in self.index.definitions and chain[0] not in self.local:
            return self._attributes(ast.Name(self._import(chain[0]), ast.Load()), chain[1:])
        self.generic_visit(node)
        return node

    def _own_method(self, node: ast.Attribute) -> bool:
        """Whether `Class(…).name` is a method that this class of the repository defines (its own `format`, say)."""
        made = node.value.func if isinstance(node.value, ast.Call) else None
        owners = {method.owner for method in self.index.methods.get(node.attr, ())}
        return isinstance(made, ast.Name) and made.id in owners and not node.attr.startswith("__")

    def _attributes(self, name: ast.Name, rest: list[str]) -> ast.expr:
        """Attributes of a definition: of a class its own methods, of a value anything, of a function none."""
        found = self.imports.definitions[-1]
        if rest and found.kind == "function":
            raise Refused(f"`{found.name}` is a function; its attributes are not for a report to use")
        if (
            rest
            and found.kind == "class"
            and not any(m.owner == found.name for m in self.index.methods.get(rest[0], ()))
        ):
            raise Refused(f"`{found.name}` defines no method `{rest[0]}`")
        result: ast.expr = name
        for attribute in rest:
            _check_name(attribute)
            result = ast.Attribute(result, attribute, ast.Load())
        return result

    def _from_dotted(self, parts: list[str]) -> tuple[ast.Name, list[str]] | None:
        """`pkg.mod.slug` → the imported name `slug` and the attributes left over."""
        for cut in range(len(parts) - 1, 0, -1):
            prefix, name, rest = ".".join(parts[:cut]), parts[cut], parts[cut + 1 :]
            known = self.index.definitions.get(name, ())
            fitting = [d for d in known if d.module == prefix or d.module.endswith("." + prefix)]
            fitting = fitting or [d for d in known if d.module.startswith(prefix + ".")]
            if len({d.module for d in fitting}) == 1:
                _check_name(name)
                self._use(fitting[-1])
                return ast.Name(name, ast.Load()), rest
        return None

    def _import(self, name: str) -> str:
        _check_name(name)
        known = self.index.definitions[name]
        fitting = [d for d in known if d.module in self.hints.modules or d.path in self.hints.modules]
        fitting = fitting if len({d.module for d in fitting}) == 1 else list(known)
        if len({d.module for d in fitting}) > 1:
            places = ", ".join(sorted({d.module for d in fitting})[:4])
            raise Refused(f"`{name}` is defined in several modules ({places}) and the report does not say which")
        self._use(fitting[-1])
        return name

    def _use(self, found: Definition) -> None:
        if found.danger:
            why = "a test with a stranger's arguments for it is a person's to write"
            raise Refused(f"`{found.name}` reaches `{found.danger}`: {why}")
        if found.asynchronous:
            raise Refused(f"`{found.name}` is asynchronous, which a derived test does not cover")
        self.imports.add(found.module, found.name)
        self.imports.definitions.append(found)

    def _unknown(self, name: str) -> str:
        owners = sorted({m.owner for m in self.index.methods.get(name, ())})
        if owners:
            return f"`{name}` is a method of {' and '.join(owners[:3])}; the report does not show the object"
        return f"`{name}` is not defined in the repository"


def _check_name(name: str) -> None:
    if name.startswith("__") or name in REFUSED_ATTRIBUTES:
        raise Refused(f"`{name}` is not allowed in a test from a report")


def _dotted(node: ast.expr) -> list[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else []


def _bound_inside(nodes: list[ast.AST]) -> set[str]:
    """Names that lambdas and comprehensions bind."""
    bound = {n.arg for n in nodes if isinstance(n, ast.arg)}
    bound |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for name in bound:
        _check_name(name)
    return bound
