"""Reads code in a report: interactive sessions, snippets with comments, and tests that someone wrote."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
import warnings

from appliance.line.reproduce.blocks import Block, BlockKind
from appliance.line.reproduce.claims import Form, Role, Said
from appliance.line.reproduce.expressions import calls_in, parse
from appliance.line.reproduce.reader import Reader
from appliance.line.reproduce.values import MISSING, literal

_SHELL = re.compile(r"^\s*\$ |^\s*python3? ", re.MULTILINE)


def read(block: Block, reader: Reader) -> None:
    """Read a session or a piece of code into the reader's claims."""
    if block.kind == BlockKind.SESSION:
        _session(block.text, reader)
        return
    text = textwrap.dedent(block.text)
    tree = _module(text)
    if tree is not None and not _is_value(tree, reader):
        comments, alone = _comments(text), _comments(text, alone=True)
        for statement in tree.body:
            _statement(statement, reader, _comment_for(statement, comments, alone))
    elif reader.role in (Role.EXPECTED, Role.ACTUAL, Role.INPUT) and not _mentions_call(text, reader):
        _whole(text, reader)
    else:
        _line_by_line(text, reader)


def _is_value(tree: ast.Module, reader: Reader) -> bool:
    """Whether the code is only a value that the words before it announced."""
    return (
        len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr) and not calls_in(tree) and reader.role != Role.NONE
    )


def _whole(text: str, reader: Reader) -> None:
    said = Said(text.strip("\n"), Form.CODE)
    exception = re.fullmatch(r"\s*([A-Z]\w*(?:Error|Exception))(?::.*)?\s*", text)
    reader._give(reader.role, Said(exception.group(1), Form.EXCEPTION) if exception else said)


def _mentions_call(text: str, reader: Reader) -> bool:
    return any(re.search(rf"(?<![\w]){re.escape(name)}\(", text) for name in reader.callables)


def _module(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _comments(text: str, alone: bool = False) -> dict[int, str]:
    """Line → comment on it; with `alone`, only comments that have their line for themselves."""
    found: dict[int, str] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and not (alone and token.line[: token.start[1]].strip()):
                found[token.start[0]] = token.string.lstrip("#").strip()
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return found
    return found


def _comment_for(statement: ast.stmt, comments: dict[int, str], alone: dict[int, str]) -> str:
    """The comment on a statement's last line and on the lines of comment right below it."""
    last = statement.end_lineno or statement.lineno
    lines = [comments.get(last, "")]
    following = last + 1
    while following in alone:
        lines.append(alone[following])
        following += 1
    return "\n".join(line for line in lines if line)


def _line_by_line(text: str, reader: Reader) -> None:
    """Code mixed with its output or with words."""
    waiting = False
    for raw in text.split("\n"):
        line = re.sub(r"^\s*\$\s*(?:python3?\s+-c\s+)?", "", raw).strip() if _SHELL.match(raw) else raw.strip()
        line = line.strip("\"'") if _SHELL.match(raw) else line
        for part in line.split("; ") if _SHELL.match(raw) else [line]:
            tree = _module(part)
            interesting = tree is not None and tree.body and (calls_in(tree) or not isinstance(tree.body[0], ast.Expr))
            if tree is not None and interesting:
                comment = "\n".join(_comments(part).values())
                for statement in tree.body:
                    _statement(statement, reader, comment)
                waiting = True
            elif part:
                reader.prose(part, Role.SHOWN if waiting else Role.NONE)
                waiting = False


def _statement(node: ast.stmt, reader: Reader, comment: str = "") -> None:
    """One statement: what it calls, what it asserts, what it sets up."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        _import(node, reader)
    elif isinstance(node, ast.Assert):
        _assertion(node.test, reader, comment)
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        reader.setup.append(ast.unparse(node))
        if comment and isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and calls_in(node.value):
            reader.call(node.targets[0].id)
            _remark(comment, reader)
    elif isinstance(node, ast.Expr):
        _expression(node.value, reader, comment)
    elif isinstance(node, ast.With) and node.body:
        raised = _raised(node)
        if raised:
            _expression(node.body[0].value, reader, "") if isinstance(node.body[0], ast.Expr) else None
            reader._give(Role.EXPECTED, Said(raised, Form.EXCEPTION))
    elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name.lower().startswith("test"):
        reader.setup.clear()
        for inner in node.body:
            _statement(inner, reader)
        reader.setup.clear()


def _import(node: ast.Import | ast.ImportFrom, reader: Reader) -> None:
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            reader.modules.add(module.lstrip("."))
            reader.aliases[alias.asname or alias.name] = f"{module.lstrip('.')}.{alias.name}".lstrip(".")
        else:
            reader.modules.add(alias.name)
            if alias.asname:
                reader.aliases[alias.asname] = alias.name


def _raised(node: ast.With) -> str:
    """`with pytest.raises(X)` or `with self.assertRaises(X)` → X."""
    call = node.items[0].context_expr
    if (
        isinstance(call, ast.Call)
        and ast.unparse(call.func).rsplit(".", 1)[-1] in {"raises", "assertRaises", "assertRaisesRegex"}
        and call.args
    ):
        return ast.unparse(call.args[0])
    return ""


def _assertion(test: ast.expr, reader: Reader, comment: str) -> None:
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
        left, right = ast.unparse(test.left), ast.unparse(test.comparators[0])
        if not calls_in(test.left) and literal(left) is not MISSING:
            left, right = right, left
        reader.call(left)
        reader._give(Role.EXPECTED, Said(right, Form.REPR))
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        reader.call(f"bool({ast.unparse(test.operand)})")
        reader._give(Role.EXPECTED, Said("False", Form.REPR))
    else:
        reader.call(ast.unparse(test))
        reader._give(Role.EXPECTED, Said("True", Form.HOLDS))
    if comment:
        _remark(comment, reader)


def _expression(node: ast.expr, reader: Reader, comment: str) -> None:
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        if name == "print" and len(node.args) == 1 and not node.keywords:
            shown = node.args[0]
            reader.call(ast.unparse(shown))
            _remark(comment, reader, printed=True)
            return
        if name in {"self.assertEqual", "self.assertEquals", "self.assertIs"} and len(node.args) >= 2:
            _assertion(ast.Compare(node.args[0], [ast.Eq()], [node.args[1]]), reader, comment)
            return
        if name in {"self.assertTrue", "self.assertFalse"} and node.args:
            test = node.args[0] if name.endswith("True") else ast.UnaryOp(ast.Not(), node.args[0])
            _assertion(test, reader, comment)
            return
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq) and calls_in(node):
        reader.prose(f"`{ast.unparse(node)}`")
        _remark(comment, reader)
        return
    if calls_in(node) or isinstance(node, ast.Name | ast.Attribute | ast.Subscript):
        reader.call(ast.unparse(node))
        if comment:
            _remark(comment, reader)
        if isinstance(node, ast.Call) and (isinstance(node.func, ast.Attribute) or _names_among(node.args)):
            reader.setup.append(ast.unparse(node))  # it may have changed its object for what follows
    elif comment:
        reader.prose(comment)


def _names_among(arguments: list[ast.expr]) -> bool:
    return any(isinstance(argument, ast.Name) for argument in arguments)


def _remark(comment: str, reader: Reader, printed: bool = False) -> None:
    """A comment on a call: its output, or words on what is right."""
    text = (
        re.sub(r"^(?:->|=>|→|>>|prints?:?|output:?|returns?:?)\s*(?=\S)", "", comment)
        if "\n" not in comment
        else comment
    )
    if literal(text) is not MISSING and text:
        reader._give(Role.SHOWN, Said(text, Form.CODE if printed else Form.REPR))
    elif comment:
        reader.prose(comment, Role.SHOWN)


def _session(text: str, reader: Reader) -> None:
    """An interactive session: statements, and what each showed."""
    announced = reader.role if reader.role in (Role.EXPECTED, Role.ACTUAL) else Role.SHOWN
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        if not re.match(r"\s*>>>", lines[position]):
            position += 1
            continue
        source = [re.sub(r"^\s*>>> ?", "", lines[position])]
        position += 1
        while position < len(lines) and re.match(r"\s*\.\.\.(?: |$)", lines[position]):
            source.append(re.sub(r"^\s*\.\.\. ?", "", lines[position]))
            position += 1
        output: list[str] = []
        while position < len(lines) and not re.match(r"\s*>>>", lines[position]):
            output.append(lines[position])
            position += 1
        _step("\n".join(source).rstrip(), "\n".join(output).strip("\n"), announced, reader)


def _step(source: str, output: str, role: Role, reader: Reader) -> None:
    tree = _module(source)
    comment = "\n".join(_comments(source).values())
    if tree is None or not tree.body:
        if comment:
            reader.prose(comment)
        return
    for statement in tree.body:
        _statement(statement, reader, comment)
    if not output.strip():
        return
    last = tree.body[-1]
    printed = (
        isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) and ast.unparse(last.value.func) == "print"
    )
    if "Traceback" in output or re.match(r"\s*(?:\w+\.)*[A-Z]\w*(?:Error|Exception)\b", output):
        name = re.findall(r"^\s*(?:\w+\.)*([A-Z]\w*)(?::.*)?$", output, re.MULTILINE)
        for path, line, function in re.findall(r'File "([^"\n]+)", line (\d+)(?:, in (\S+))?', output):
            reader.frames.append((path, int(line), function))
        if name:
            reader._give(Role.EXPECTED if role == Role.EXPECTED else Role.ACTUAL, Said(name[-1], Form.EXCEPTION))
        return
    shown, _, remark = output.partition("  #")
    value = re.sub(r"\s+(?:<--?|←).*$", "", shown).strip()
    remark = remark or "".join(re.findall(r"\s(?:<--?|←)\s*(.*)$", shown))
    reader._give(role, _output(value, printed, parse(value) is not None))
    if remark:
        reader.prose(remark)


def _output(value: str, printed: bool, parses: bool) -> Said:
    """An output as said: what `print` shows is text; what the prompt shows is a value when it parses as one."""
    if printed:
        return Said(value, Form.PRINTED)
    return Said(value, Form.REPR if parses else Form.BARE)
