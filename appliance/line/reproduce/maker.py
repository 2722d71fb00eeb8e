"""One claim of a report becomes one test case: names resolved, set-up admitted, both values read together."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace

from appliance.line.reproduce import writer
from appliance.line.reproduce.claims import Claim, Example, Form, Said
from appliance.line.reproduce.expressions import Hints, Refused, Resolver, parse
from appliance.line.reproduce.index import Definition, Index
from appliance.line.reproduce.values import Reading, choose, literal, plausible_bare, readings, tolerance


@dataclass
class Made:
    """A test case and what it imports: module → names."""

    case: writer.Case
    imports: dict[str, set[str]]


class Maker:
    """Turns one claim into one test case, or refuses with the reason."""

    def __init__(self, claim: Claim, known: Index, hints: Hints) -> None:
        self.claim = claim
        self.known = known
        self.hints = hints
        self.imports: dict[str, set[str]] = {}
        self.definitions: list[Definition] = []

    def make(self) -> Made:
        """The test case. Raises Refused."""
        if not self.claim.calls:
            raise Refused("the report shows no call of a function of this repository")
        self._drop_implausible()
        setup, local = self._setup()
        call = self._admit(self.claim.calls[0], local)
        used = [d for d in self.definitions if d.kind != "value"]
        if not used:
            raise Refused(f"`{self.claim.calls[0][:80]}` calls nothing that this repository defines")
        expected, actual = self._sides()
        case = self._case(call, used[-1], expected, actual, local)
        return Made(replace(case, setup=setup), self.imports)

    def _admit(self, text: str, local: frozenset[str]) -> ast.expr:
        resolver = Resolver(self.known, self.hints, local)
        node = resolver.admit(text)
        for module, names in resolver.imports.names.items():
            self.imports.setdefault(module, set()).update(names)
        self.definitions += resolver.imports.definitions
        return node

    def _setup(self) -> tuple[tuple[str, ...], frozenset[str]]:
        """The statements of the report that the call needs, admitted like the call itself."""
        node = parse(self.claim.calls[0])
        needed = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} if node is not None else set()
        chosen: list[tuple[str, ast.stmt]] = []
        for line in reversed(self.claim.setup):
            statement = _one_statement(line)
            target = _target(statement)
            if statement is not None and (target in needed or _takes(statement, needed)):
                chosen.insert(0, (target, statement))
                needed |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        local = frozenset(target for target, statement in chosen if not isinstance(statement, ast.Expr))
        lines = []
        for target, statement in chosen[-20:]:
            assert isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr)
            if target.startswith("__") or statement.value is None:
                raise Refused("the set-up in the report is not allowed in a test")
            value = ast.unparse(self._admit(ast.unparse(statement.value), local))
            prefix = "" if isinstance(statement, ast.Expr) else f"{target} = "
            if isinstance(statement, ast.AugAssign):
                raise Refused("the set-up in the report changes a value in place, which a derived test does not cover")
            lines.append(prefix + value)
        return tuple(lines), local

    def _drop_implausible(self) -> None:
        claim = self.claim
        arguments = _string_arguments(claim.calls[0])
        for slot in ("expected", "actual", "shown"):
            said = getattr(claim, slot)
            if isinstance(said, Said) and said.form == Form.BARE:
                others = [getattr(claim, s) for s in ("expected", "actual", "shown") if s != slot]
                texts = tuple(o.text for o in others if isinstance(o, Said) and _is_text(o)) + arguments
                if not plausible_bare(said.text, texts):
                    setattr(claim, slot, None)

    def _sides(self) -> tuple[Said | None, Said | None]:
        """Which value is expected and which comes out, `shown` taking the place that is free."""
        claim = self.claim
        expected, actual, shown = claim.expected, claim.actual, claim.shown
        if shown and expected and expected.text.strip().lower() == "true" and literal(shown.text) is not True:
            return shown, None  # `f(x) == y` should be True
        if shown and not expected and actual and actual.text.strip().lower() == "false":
            return shown, None  # `f(x) == y` is False
        if shown and expected is None:
            return shown, actual
        return expected, actual or shown

    def _case(
        self, call: ast.expr, used: Definition, expected: Said | None, actual: Said | None, local: frozenset[str]
    ) -> writer.Case:
        text = ast.unparse(call)
        exception = actual.text if actual and actual.form == Form.EXCEPTION else ""
        where = f"{used.path}::{f'{used.owner}.' if used.owner else ''}{used.name}"
        example = Example(
            test="", call=text, function=where, exception=exception, hangs=self.claim.hangs,
            confidence=self._confidence(expected, actual), origin=self.claim.origin,
        )  # fmt: skip
        if expected is None:
            if self.claim.hangs:
                return writer.Case(example, comparison="ends")
            if exception:
                return writer.Case(example, comparison="returns")
            raise Refused(f"the report does not say what `{text[:80]}` should give")
        if expected.form == Form.EXCEPTION:
            seen = _printed(readings(actual)) if actual and not exception else ""
            name = self._exception(expected.text)
            return writer.Case(example.with_(raises=name, actual=seen), expected=name, comparison="raises")
        if expected.form == Form.HOLDS:
            return writer.Case(example.with_(expected="True"), comparison="holds")
        return self._valued(example, call, used, expected, actual if not exception else None, local)

    def _valued(
        self,
        example: Example,
        call: ast.expr,
        used: Definition,
        expected: Said,
        actual: Said | None,
        local: frozenset[str],
    ) -> writer.Case:
        ours, theirs = choose(expected, actual, used.returns, _string_arguments(example.call))
        seen = theirs.source if theirs else ""
        if ours is None or _is_name(expected, ours, used, local):
            return self._expression(example.with_(actual=seen), expected, local)
        if theirs and not ours.literal and expected.form == Form.BARE and not isinstance(theirs.value, str):
            raise Refused(f"`{expected.text[:60]}` cannot be read as a value like {theirs.source[:40]}")
        if theirs and type(ours.value) is type(theirs.value) and ours.value == theirs.value:
            raise Refused("the expected and the actual value are the same")
        text = example.call
        if expected.form == Form.PRINTED and isinstance(ours.value, str) and used.returns != "str":
            text = f"str({text})"
        elif used.generator and _calls(call, used.name) and isinstance(ours.value, list | tuple | set):
            text = f"{type(ours.value).__name__}({text})"
        allowed = tolerance(expected, ours.value, theirs.value if theirs else None)
        identical = ours.value is None or isinstance(ours.value, bool)
        comparison = "is" if identical else f"approx:{allowed:g}" if allowed is not None else "=="
        done = example.with_(call=text, expected=ours.source, actual=seen)
        return writer.Case(done, expected=ours.source, comparison=comparison)

    def _expression(self, example: Example, expected: Said, local: frozenset[str]) -> writer.Case:
        """An expected value that is an expression (`Decimal("1.5")`, `Point(1, 2)`), else what its repr shows."""
        try:
            node = self._admit(expected.text, local)
        except Refused:
            if expected.form == Form.REPR and not re.search(r"0x|\.\.\.", expected.text):
                text = f"repr({example.call})"
                return writer.Case(example.with_(call=text, expected=repr(expected.text)), expected=repr(expected.text))
            raise Refused(f"`{expected.text[:60]}` cannot be read as a value") from None
        if re.search(r"\bnan\b", expected.text):
            raise Refused("nan equals nothing, so this cannot be asserted by comparison")
        source = ast.unparse(node)
        return writer.Case(example.with_(expected=source), expected=source)

    def _exception(self, name: str) -> str:
        last = name.rsplit(".", 1)[-1]
        if writer.is_builtin_exception(last):
            return last
        return ast.unparse(self._admit(last, frozenset()))

    def _confidence(self, expected: Said | None, actual: Said | None) -> float:
        if expected is None:
            return 0.8 if self.claim.hangs else 0.6
        if self.claim.expected is None:
            return 0.5 if actual is None else 0.7
        sure = 0.75 if expected.form == Form.BARE else 0.9
        return round(sure + (0.05 if actual else 0.0) - (0.0 if self.claim.calls and not self.claim.inputs else 0.1), 2)


def _one_statement(line: str) -> ast.stmt | None:
    try:
        body = ast.parse(line).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    return body[0] if len(body) == 1 else None


def _takes(statement: ast.stmt, needed: set[str]) -> bool:
    """Whether a statement is a call that gets one of these objects, and so may change it."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and any(isinstance(a, ast.Name) and a.id in needed for a in call.args)


def _target(statement: ast.stmt | None) -> str:
    """The name a set-up statement binds, or whose object it changes."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    if isinstance(statement, ast.AnnAssign | ast.AugAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id
    if isinstance(statement, ast.Expr):
        node: ast.expr = statement.value
        while isinstance(node, ast.Call | ast.Attribute | ast.Subscript):
            node = node.func if isinstance(node, ast.Call) else node.value
        return node.id if isinstance(node, ast.Name) else ""
    return ""


def _string_arguments(call: str) -> tuple[str, ...]:
    node = parse(call)
    constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant)) if node is not None else ()
    return tuple(value for value in constants if isinstance(value, str))


def _calls(node: ast.expr, name: str) -> bool:
    """Whether the outermost call is one of this function."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).rsplit(".", 1)[-1] == name


def _is_text(said: Said) -> bool:
    return said.form != Form.EXCEPTION and any(isinstance(r.value, str) for r in readings(said)[:1])


def _is_name(said: Said, reading: Reading, used: Definition, local: frozenset[str]) -> bool:
    """Whether the text is a name of the code (a parameter, a variable of the report) and not a value."""
    return said.form == Form.CODE and not reading.literal and (said.text in used.parameters or said.text in local)


def _printed(found: list[Reading]) -> str:
    return found[0].source if found else ""
