"""From a report and a checkout to reproduction tests: read, merge, resolve, write."""

from __future__ import annotations

import ast
import hashlib
import re
from dataclasses import replace
from pathlib import Path

from appliance.line.reproduce import blocks, code, index, writer
from appliance.line.reproduce.claims import Claim, Example, Form, Reproduction
from appliance.line.reproduce.expressions import Refused, parse
from appliance.line.reproduce.index import Index
from appliance.line.reproduce.maker import Made, Maker
from appliance.line.reproduce.reader import Reader
from appliance.line.reproduce.values import MISSING, literal, readings
from appliance.work import NewTest

MAX_EXAMPLES = 8
"""Tests made from one report; a stranger's text decides neither how long a file gets nor how long tests run."""


def reproduce(title: str, body: str, checkout: Path) -> Reproduction:
    """Tests that show what the report says, or why none can be written. Reads files; runs nothing.

    The tests are not run here: the caller runs them and asks `check_reason` whether they fail as the report says.
    """
    known = index.build(checkout, f"{title}\n{body}")
    reader = Reader(known)
    claims = read(title, blocks.split(body), reader)
    names = mentions(f"{title}\n{body}", known, reader)
    reader.modules.update(name for name in names if name.endswith(".py"))
    reader.modules.update(name.rpartition(":")[0] for name in names if ".py:" in name)
    made, reasons = [], []
    for claim in _merged(claims, reader):
        try:
            made.append(Maker(claim, known, reader.hints()).make())
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
    spans = " ".join(re.findall(r"`([^`\n]+)`", text))
    marked = set(re.findall(r"[A-Za-z_]\w*", spans)) | set(re.findall(r"(?<![A-Za-z0-9_])([A-Za-z_]\w*)\(", text))
    ordinary = re.compile(r"[a-z]{1,12}")
    names = [
        word
        for word in words
        if word in known.definitions or (word in known.methods and (word in marked or not ordinary.fullmatch(word)))
    ]
    named = re.findall(r"(?<![\w./\\-])[\w./\\-]+\.py(?::\d+)?", text)
    files: list[str] = []
    places = [(name.partition(":")[0], name.partition(":")[2]) for name in named]
    for written, line in places + [(path, str(number)) for path, number, _ in reader.frames]:
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
            key = (
                ast.unparse(node) if node is not None else call,
                claim.setup if _needs_setup(node, claim.setup) else (),
            )
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
        named = re.match(r"[A-Za-z_]\w*\s*=[^=]", said.text)
        if named or (said.form != Form.QUOTED and _all_literal(said.text)):
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


def _best(made: list[Made]) -> list[Made]:
    surest = max(m.case.example.confidence for m in made)
    return [m for m in made if m.case.example.confidence >= min(surest, 0.6)][:MAX_EXAMPLES]


def _why_none(reasons: list[str], claims: list[Claim]) -> str:
    if reasons:
        return "no test was written: " + "; ".join(list(dict.fromkeys(reasons))[:3])
    if any(not c.empty for c in claims):
        return "no test was written: the report names values but no call of a function of this repository"
    return "no test was written: the report carries no example (a call with what it gives and what it should give)"


def _written(
    title: str, body: str, made: list[Made], known: Index, names: tuple[str, ...], reasons: list[str]
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
        tests=(test,), test_ids=ids, examples=examples, mentions=names,
        expected=examples[0].expected or examples[0].raises, actual=examples[0].actual or examples[0].exception,
        confidence=min(e.confidence for e in examples), why=why,
    )  # fmt: skip


def _said(example: Example) -> str:
    wanted = f"should raise {example.raises}" if example.raises else f"should be {example.expected}"
    wanted = wanted if example.raises or example.expected else "should return"
    seen = (
        f", raises {example.exception}" if example.exception else f", gives {example.actual}" if example.actual else ""
    )
    return wanted + (", never returns" if example.hangs else seen)


def _words(body: str, title: str, example: Example) -> str:
    """The line of the report an example comes from: for people, never for code."""
    name = example.function.rsplit("::", 1)[-1].rsplit(".", 1)[-1]
    lines = [line.strip() for line in (title, *body.split("\n")) if name in line]
    with_call = [line for line in lines if f"{name}(" in line]
    return ((with_call or lines or [title])[0])[:200]
