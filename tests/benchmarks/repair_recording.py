"""Copies of real modules, recorded examples of their functions, and tests made of these."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import symtable
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repair_subjects import SUBJECTS, Subject

EXAMPLES = 90

Example = tuple[tuple[Any, ...], str]
"""Arguments, and the result's repr or `raises Name`."""


def copied_name(module: str) -> str:
    """The name the copy of a module goes by."""
    top, _, rest = module.partition(".")
    return f"lib_{top}.{rest}" if rest else f"lib_{top}"


def origin(module: str) -> Path:
    """Where a module's source lies; frozen modules say so of themselves."""
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    return Path(sysconfig.get_path("stdlib"), f"{module}.py") if spec.origin == "frozen" else Path(spec.origin)


def is_subject(file: Path) -> bool:
    """Whether a source file belongs to a module or package that the benchmark breaks."""
    return any(module.split(".")[0] in (file.stem, *file.parts) for module in {subject.module for subject in SUBJECTS})


def install(module: str, tree: Path) -> Path:
    """Copy a module's source (or its package's) into a repository; returns the module's file there."""
    file, top = origin(module), copied_name(module).split(".")[0]
    if "." not in module and file.name != "__init__.py":
        target = tree / f"{top}.py"
        target.write_text(_portable(file.read_text(encoding="utf-8")), encoding="utf-8")
        return target
    package = file
    for _ in range(module.count(".") + (file.name == "__init__.py")):
        package = package.parent
    if file.name != "__init__.py" and module.count(".") == 0:
        package = file.parent
    if not (tree / top).exists():
        ignore = shutil.ignore_patterns("__pycache__", "*.so", "tests", "test", "lib2to3")
        shutil.copytree(package, tree / top, ignore=ignore)
        for inner in (tree / top).rglob("*.py"):
            original = package.name
            text = re.sub(rf"^(\s*)from {original}\b", rf"\1from {top}", inner.read_text(encoding="utf-8"), flags=re.M)
            inner.write_text(_portable(text), encoding="utf-8")
    return tree / top / file.relative_to(package)


def _portable(text: str) -> str:
    """Without the imports of C versions that would stand in for the code below them or above them."""
    return re.sub(
        r"^try:\n    from _\w+ import .*\n(except ImportError:)", r"try:\n    raise ImportError\n\1", text, flags=re.M
    )


def examples(subject: Subject, root: Path, rng: random.Random) -> list[Example]:
    """Recorded calls of the sound function: the first arguments and what grows out of them."""
    made: dict[str, Example] = {}
    fresh = list(subject.seeds)
    for _ in range(4):
        answers = ask(root, subject, fresh)
        made |= {repr(arguments): (arguments, answer) for arguments, answer in zip(fresh, answers, strict=True)}
        pool = [one for one, answer in made.values() if answer and not answer.startswith("raises")] or fresh
        fresh = list(
            {
                repr(one): one
                for one in (_grown(rng.choice(pool), subject, rng) for _ in range(EXAMPLES))
                if repr(one) not in made
            }.values()
        )
    found = [one for one in made.values() if one[1] and one[1] != "late" and len(repr(one)) < 600]
    good = [one for one in found if not one[1].startswith("raises")]
    bad = [one for one in found if one[1].startswith("raises")]
    return (good[:EXAMPLES] + bad[: max(2, len(good) // 8)])[:EXAMPLES]


def _grown(arguments: tuple[Any, ...], subject: Subject, rng: random.Random) -> tuple[Any, ...]:
    """Arguments with one of them changed."""
    at = rng.randrange(len(arguments))
    changed = _varied(arguments[at], rng, [seed[at] for seed in subject.seeds])
    return (*arguments[:at], changed, *arguments[at + 1 :])


def _varied(value: Any, rng: random.Random, others: Sequence[Any]) -> Any:
    if rng.random() < 0.15:
        return rng.choice(others)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + rng.choice((-2, -1, 1, 2, 5))
    if isinstance(value, float):
        return round(value + rng.choice((-0.5, -0.1, 0.1, 0.25, 1)), 4)
    digits = (
        [n for n, letter in enumerate(value) if isinstance(value, str) and letter.isdigit()]
        if isinstance(value, str)
        else []
    )
    if digits and rng.random() < 0.5:
        at = rng.choice(digits)
        return value[:at] + str(rng.randrange(10)) + value[at + 1 :]
    if isinstance(value, str | bytes) and value:
        at, other = (
            rng.randrange(len(value)),
            rng.choice([one for one in others if isinstance(one, type(value))] or [value]) or value,
        )
        start = rng.randrange(len(other))
        piece = other[start : start + rng.randint(1, 4)]
        return rng.choice(
            (
                value[:at] + value[at + 1 :],
                value[:at] + piece + value[at:],
                value[: at + 1] + value[at:],
                value[at:] + value[:at],
                value[:at] + piece + value[at + 1 :],
            )
        )  # type: ignore[operator]
    if isinstance(value, list) and value:
        at = rng.randrange(len(value))
        changed = [*value[:at], _varied(value[at], rng, value), *value[at + 1 :]]
        return rng.choice(
            (value[:at] + value[at + 1 :], [*value, rng.choice(value)], changed, changed, rng.sample(value, len(value)))
        )
    if isinstance(value, dict) and value:
        key = rng.choice(sorted(value))
        return {k: (_varied(v, rng, list(value.values())) if k == key else v) for k, v in value.items()}
    return value


ASK = """
import importlib, json, signal, sys
sys.path.insert(0, sys.argv[1])
sys.setrecursionlimit(600)
given = json.load(sys.stdin)
names = vars(importlib.import_module(given["module"]))
def late(*_): raise TimeoutError("late")
signal.signal(signal.SIGPROF, late)
out = []
for text in given["arguments"]:
    signal.setitimer(signal.ITIMER_PROF, 0.3)
    try:
        first = repr(eval(given["call"], {**names, "a": eval(text)}))
        signal.setitimer(signal.ITIMER_PROF, 0)
        import ast
        ast.literal_eval(first)
        out.append(first if len(first) < 2000 else "")
    except TimeoutError:
        out.append("late")
    except Exception as error:
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.append("raises " + type(error).__name__ if type(error).__module__ == "builtins" else "")
print(json.dumps(out))
"""


def ask(root: Path, subject: Subject, arguments: Sequence[tuple[Any, ...]]) -> list[str]:
    """What the copy in `root` answers to each set of arguments; "" where an answer cannot be written down."""
    given = json.dumps(
        {"module": copied_name(subject.module), "call": subject.call, "arguments": list(map(repr, arguments))}
    )
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ASK, str(root)],
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        return json.loads(done.stdout) if done.returncode == 0 else [""] * len(arguments)
    except subprocess.TimeoutExpired:
        return [""] * len(arguments)


def write_tests(tree: Path, subject: Subject, shown: Sequence[Example], number: int) -> str:
    """A test file of examples; returns its path."""
    name = f"tests/test_{subject.module.replace('.', '_').strip('_')}_{number}.py"
    cases = "".join(
        f"    ({arguments!r}, {answer!r}),\n" if answer.startswith("raises") else f"    ({arguments!r}, {answer}),\n"
        for arguments, answer in shown
    )
    (tree / "tests").mkdir(exist_ok=True)
    (tree / name).write_text(
        f"import pytest\n\nimport {copied_name(subject.module)} as module\n\n\n"
        f"def call(*a):\n    return eval_call(a)\n\n\ndef eval_call(a):\n    return {_qualified(subject)}\n\n\n"
        f'@pytest.mark.parametrize(("arguments", "expected"), [\n{cases}])\ndef test_examples(arguments, expected):\n'
        '    if isinstance(expected, str) and expected.startswith("raises "):\n'
        '        with pytest.raises(getattr(__import__("builtins"), expected[7:])):\n            call(*arguments)\n'
        "    else:\n        assert call(*arguments) == expected\n",
        encoding="utf-8",
    )
    return name


def _qualified(subject: Subject) -> str:
    """The call with the module's names as `module.name`."""
    tree = ast.parse(subject.call, mode="eval")
    bound = {"a"} | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    module = symtable.symtable(origin(subject.module).read_text(encoding="utf-8"), subject.module, "exec")
    defined = {symbol.get_name() for symbol in module.get_symbols() if symbol.is_local()}

    class Names(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            if node.id in bound or node.id not in defined:
                return node
            return ast.Attribute(ast.Name("module", ast.Load()), node.id, ast.Load())

    return ast.unparse(Names().visit(tree))
