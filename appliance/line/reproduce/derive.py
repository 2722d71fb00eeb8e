"""From a report and a checkout to reproduction tests: read, merge, resolve, write."""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.line.reproduce import blocks, code, index, writer
from appliance.line.reproduce.claims import Claim, Example, Form, Reproduction, Said
from appliance.line.reproduce.expressions import Hints, Refused, Resolver, calls_in, parse
from appliance.line.reproduce.index import Index
from appliance.line.reproduce.reader import Reader
from appliance.line.reproduce.values import MISSING, Reading, choose, literal, plausible_bare, readings, tolerance
from appliance.work import NewTest

MAX_EXAMPLES = 8
"""Tests made from one report; a stranger's text decides neither how long a file gets nor how long tests run."""


def reproduce(title: str, body: str, checkout: Path) -> Reproduction:
    """Tests that show what the report says, or why none can be written. Reads files; runs nothing.

    The tests are not run here: the caller runs them and asks `check_reason` whether they fail as the report says.
    """
    known = index.build(checkout)
    reader = Reader(known)
    claims = read(title, blocks.split(body), reader)
    names = mentions(f"{title}\n{body}", known, reader)
    reader.modules.update(name for name in names if name.endswith(".py"))
    reader.modules.update(name.rpartition(":")[0] for name in names if ".py:" in name)
    made, reasons = [], []
    for claim in _merged(claims, reader):
        try:
            made.append(_Maker(claim, known, reader.hints()).make())
        except Refused as refusal:
            reasons.append(str(refusal))
    if not made:
        return Reproduction(mentions=names, why=_why_none(reasons, claims))
    return _written(title, body, _best(made), known, names, reasons)


def read(title: str, parts: list[blocks.Block], reader: Reader) -> list[Claim]:
    """All claims of a report, in its order."""
    reader.prose(blocks.clean(title) + "\n")
    for block in parts:
        if block.kind == blocks.BlockKind.PROSE:
            reader.prose(block.text)
        elif block.kind == blocks.BlockKind.TRACEBACK:
            reader.traceback(block)
        elif block.kind == blocks.BlockKind.FAILURE:
            reader.failure(block)
        elif block.kind == blocks.BlockKind.TABLE:
            reader.table(block)
        else:
            code.read(block, reader)
    return reader.finish()


def mentions(text: str, known: Index, reader: Reader) -> tuple[str, ...]:
    """What the report names that the repository has: definitions, methods, files, and places of tracebacks."""
    words = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", text))
    marked = set(re.findall(r"`[^`\n]*?([A-Za-z_]\w*)[^`\n]*?`", text)) | set(re.findall(r"([A-Za-z_]\w*)\(", text))
    ordinary = re.compile(r"[a-z]{1,12}")
    names = [
        word for word in words
        if (word in known.definitions or word in known.methods) and (word in marked or not ordinary.fullmatch(word) or word in known.definitions)
    ]  # fmt: skip
    paths = {path: path for path in known.modules.values()}
    for module, path in known.modules.items():
        paths[module] = path
    named = re.findall(r"[\w./\\-]+\.py(?::\d+)?", text)
    files: list[str] = []
    for written, line in [(n.partition(":")[0], n.partition(":")[2]) for n in named] + [(p, str(n)) for p, n, _ in reader.frames]:
        parts = written.replace("\\", "/").split("/")
        fitting = {p for p in known.modules.values() for i in range(len(parts)) if p == "/".join(parts[i:])}
        fitting = fitting or {p for p in known.modules.values() if p.endswith("/" + parts[-1])}
        if len(fitting) == 1:
            path = fitting.pop()
            files.append(f"{path}:{line}" if line else path)
    return tuple(dict.fromkeys(names + files))


def _merged(claims: list[Claim], reader: Reader) -> list[Claim]:
    """One claim per call: what is said in several places comes together; values without a call find theirs."""
    whole: dict[tuple[str, tuple[str, ...]], Claim] = {}
    orphans: list[Claim] = []
    for claim in claims:
        for call in claim.calls or _from_inputs(claim, reader):
            node = parse(call)
            key = (ast.unparse(node) if node is not None else call, claim.setup if _needs_setup(node, claim.setup) else ())
            single = replace(claim, calls=[call])
            whole[key] = _joined(whole[key], single) if key in whole else single
        if not claim.calls and not _from_inputs(claim, reader) and not claim.empty:
            orphans.append(claim)
    for orphan in orphans:
        lacking = [c for c in whole.values() if c.expected is None] or list(whole.values())
        if len(lacking) == 1 or (len(orphans) == 1 and lacking):
            target = lacking[-1]
            for slot in ("expected", "actual", "shown"):
                if getattr(target, slot) is None:
                    setattr(target, slot, getattr(orphan, slot))
            target.hangs = target.hangs or orphan.hangs
    explicit = [c for c in whole.values() if c.expected or c.hangs or (c.actual and c.actual.form == Form.EXCEPTION)]
    shown = [c for c in whole.values() if c.shown and c not in explicit]
    rest = [c for c in whole.values() if c not in explicit and c not in shown]
    return explicit or shown or rest


def _joined(first: Claim, second: Claim) -> Claim:
    if first.expected and second.expected and readings(first.expected)[:1] != readings(second.expected)[:1]:
        strong = [c for c in (first, second) if c.expected and c.expected.form != Form.BARE]
        if len(strong) != 1:
            return first  # the first statement stands; a contradiction shows when the test runs
        first = strong[0]
    return replace(
        first, expected=first.expected or second.expected, actual=first.actual or second.actual,
        shown=first.shown or second.shown, hangs=first.hangs or second.hangs, setup=first.setup or second.setup,
    )  # fmt: skip


def _needs_setup(node: ast.expr | None, setup: tuple[str, ...]) -> bool:
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} if node is not None else set()
    return any(re.match(rf"{re.escape(name)}\b", line) for name in names for line in setup)


def _from_inputs(claim: Claim, reader: Reader) -> list[str]:
    """The call for a function and inputs named apart, when their number fits its parameters."""
    name = claim.function.rsplit(".", 1)[-1]
    found = reader.index.definitions.get(name, ())
    if claim.calls or not found or not claim.inputs:
        return []
    written = []
    for said in claim.inputs:
        values = readings(said)
        if re.match(r"[A-Za-z_]\w*\s*=[^=]", said.text):
            written.append(said.text)
        elif said.form != Form.QUOTED and parse(f"f({said.text})") is not None and _all_literal(said.text):
            written.append(said.text)
        elif values:
            written.append(values[0].source)
    node = parse(f"{claim.function}({', '.join(written)})")
    if not isinstance(node, ast.Call):
        return []
    if any(k.arg not in found[0].parameters for k in node.keywords):  # names that are not the function's: by position
        node = ast.Call(node.func, [*node.args, *(k.value for k in node.keywords)], [])
    count = len(node.args) + len(node.keywords)
    fits = found[0].required <= count <= max(len(found[0].parameters), found[0].required)
    return [ast.unparse(node)] if fits else []


def _all_literal(arguments: str) -> bool:
    node = parse(f"f({arguments})")
    return isinstance(node, ast.Call) and all(literal(ast.unparse(a)) is not MISSING for a in node.args)


@dataclass
class _Made:
    case: writer.Case
    imports: dict[str, set[str]]


class _Maker:
    """Turns one claim into one test case, or refuses with the reason."""

    def __init__(self, claim: Claim, known: Index, hints: Hints) -> None:
        self.claim = claim
        self.known = known
        self.hints = hints
        self.imports: dict[str, set[str]] = {}
        self.definitions: list[index.Definition] = []

    def make(self) -> _Made:
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
        return _Made(replace(case, setup=setup), self.imports)

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
            if target in needed and statement is not None:
                chosen.insert(0, (target, statement))
                needed |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        local = frozenset(target for target, _ in chosen)
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
        self, call: ast.expr, used: index.Definition, expected: Said | None, actual: Said | None, local: frozenset[str]
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
        self, example: Example, call: ast.expr, used: index.Definition, expected: Said, actual: Said | None, local: frozenset[str]
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
        elif used.generator and isinstance(call, ast.Call) and isinstance(ours.value, list | tuple | set):
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


def _is_text(said: Said) -> bool:
    return said.form != Form.EXCEPTION and any(isinstance(r.value, str) for r in readings(said)[:1])


def _is_name(said: Said, reading: Reading, used: index.Definition, local: frozenset[str]) -> bool:
    """Whether the text is a name of the code (a parameter, a variable of the report) and not a value."""
    return said.form == Form.CODE and not reading.literal and (said.text in used.parameters or said.text in local)


def _printed(found: list[Reading]) -> str:
    return found[0].source if found else ""


def _best(made: list[_Made]) -> list[_Made]:
    surest = max(m.case.example.confidence for m in made)
    return [m for m in made if m.case.example.confidence >= min(surest, 0.6)][:MAX_EXAMPLES]


def _why_none(reasons: list[str], claims: list[Claim]) -> str:
    if reasons:
        return "no test was written: " + "; ".join(list(dict.fromkeys(reasons))[:3])
    if any(not c.empty for c in claims):
        return "no test was written: the report names values but no call of a function of this repository"
    return "no test was written: the report carries no example (a call with what it gives and what it should give)"


def _written(
    title: str, body: str, made: list[_Made], known: Index, names: tuple[str, ...], reasons: list[str]
) -> Reproduction:
    digest = hashlib.sha256(f"{title}\n{body}".encode()).hexdigest()[:8]
    imports: dict[str, set[str]] = {}
    for one in made:
        for module, found in one.imports.items():
            imports.setdefault(module, set()).update(found)
    path = writer.place(known, [m for m in imports if m in known.modules], digest)
    style = writer.unittest_style(known)
    taken: set[str] = set()
    cases = []
    for one in made:
        named = one.case.example.with_(test=writer.test_name(one.case.example, taken))
        cases.append(replace(one.case, example=named.with_(origin=_words(body, title, named))))
    ids = tuple(f"{path}::{'TestReport::' if style else ''}{c.example.test}" for c in cases)
    examples = tuple(c.example for c in cases)
    content = writer.write(title, cases, imports, style)
    test = NewTest(path=path, content=content, origin="; ".join(dict.fromkeys(e.origin for e in examples))[:500])
    why = "; ".join(f"`{e.call}`: " + _said(e) for e in examples)
    if reasons:
        why += f" (left out: {'; '.join(dict.fromkeys(reasons))})"
    return Reproduction(
        tests=(test,), test_ids=ids, examples=examples, mentions=names, expected=examples[0].expected or examples[0].raises,
        actual=examples[0].actual or examples[0].exception, confidence=min(e.confidence for e in examples), why=why,
    )  # fmt: skip


def _said(example: Example) -> str:
    wanted = f"should raise {example.raises}" if example.raises else f"should be {example.expected}"
    wanted = wanted if example.raises or example.expected else "should return"
    seen = f", raises {example.exception}" if example.exception else f", gives {example.actual}" if example.actual else ""
    return wanted + (", never returns" if example.hangs else seen)


def _words(body: str, title: str, example: Example) -> str:
    """The line of the report an example comes from: for people, never for code."""
    name = example.function.rsplit("::", 1)[-1].rsplit(".", 1)[-1]
    lines = [line.strip() for line in (title, *body.split("\n")) if name in line]
    with_call = [line for line in lines if f"{name}(" in line]
    return ((with_call or lines or [title])[0])[:200]
