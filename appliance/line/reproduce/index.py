"""Which names a checkout defines, and from which module a test can import them. Reads syntax, runs nothing."""

from __future__ import annotations

import ast
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MAX_FILES = 4000
MAX_BYTES = 1_000_000
SKIPPED_FOLDERS = frozenset(
    {"node_modules", "build", "dist", "site-packages", "venv", "env", "__pycache__", "docs", "examples", "vendor"}
)
RUNS_CODE = frozenset({"eval", "exec", "compile", "__import__"})
RUNS_COMMANDS = frozenset({
    "os.system", "os.popen", "os.remove", "os.unlink", "os.rmdir", "os.kill", "shutil.rmtree", "shutil.move",
    "pickle.loads", "pickle.load", "marshal.loads",
})  # fmt: skip


@dataclass(frozen=True)
class Definition:
    """A top-level function, class or value, or (with `owner`) a method."""

    name: str
    path: str
    module: str
    line: int
    kind: str
    owner: str = ""
    required: int = 0
    parameters: tuple[str, ...] = ()
    generator: bool = False
    asynchronous: bool = False
    returns: str = ""
    bases: tuple[str, ...] = ()
    danger: str = ""
    """What makes it unfit to be called with a stranger's arguments, if anything."""


@dataclass(frozen=True)
class Index:
    """All definitions outside the tests, and what the tests look like."""

    definitions: dict[str, tuple[Definition, ...]]
    methods: dict[str, tuple[Definition, ...]]
    modules: dict[str, str]
    """Importable module name → path."""
    tests: dict[str, str]
    """Path of each test file → its text."""
    unreadable: tuple[str, ...] = field(default=())

    def callables(self) -> frozenset[str]:
        """Names of functions and classes that can be imported."""
        return frozenset(n for n, found in self.definitions.items() if any(d.kind != "value" for d in found))

    def exceptions(self) -> frozenset[str]:
        """Names of the repository's own exception classes."""
        known = {"Exception", "BaseException"}
        classes = [(name, d.bases) for name, found in self.definitions.items() for d in found if d.kind == "class"]
        for _ in classes:
            more = {n for n, bases in classes if any(b in known or b.endswith(("Error", "Exception")) for b in bases)}
            if more <= known:
                break
            known |= more
        return frozenset(known - {"Exception", "BaseException"})


def is_test(path: str) -> bool:
    """Whether a path is a test file or lies in a folder of tests."""
    parts = PurePosixPath(path).parts
    name = parts[-1]
    in_tests = any(part in {"tests", "test", "testing"} for part in parts[:-1])
    return in_tests or name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"


def build(checkout: Path, report: str) -> Index:
    """Index every readable Python file of the checkout.

    Only modules that define a name of the report are read closely (what is a generator, what is dangerous): nothing
    else can get into a test, and reading a large repository closely takes a minute.
    """
    words = frozenset(re.findall(r"[A-Za-z_]\w*", report))
    trees: dict[str, ast.Module] = {}
    tests: dict[str, str] = {}
    unreadable: list[str] = []
    for path in _python_files(checkout):
        try:
            text = _read(checkout / path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # other people's invalid escapes are not our warnings
                tree = ast.parse(text)
        except (SyntaxError, UnicodeDecodeError, ValueError, OSError, RecursionError):
            unreadable.append(path)
            continue
        if is_test(path):
            tests[path] = text
        else:
            trees[path] = tree
    imported = _imported_by_tests(tests)
    definitions: dict[str, list[Definition]] = {}
    methods: dict[str, list[Definition]] = {}
    modules: dict[str, str] = {}
    for path, tree in trees.items():
        module = module_name(path, checkout, imported)
        modules[module] = path
        for found in _definitions(tree, path, module, words):
            (methods if found.owner else definitions).setdefault(found.name, []).append(found)
    frozen = {name: tuple(found) for name, found in definitions.items()}
    return Index(frozen, {n: tuple(f) for n, f in methods.items()}, modules, tests, tuple(unreadable))


def module_name(path: str, checkout: Path, imported: frozenset[str]) -> str:
    """The name tests import a file by: one they already use when there is one, else from the topmost package down."""
    parts = list(PurePosixPath(path).with_suffix("").parts)
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    suffixes = [".".join(parts[i:]) for i in range(len(parts))]
    for name in suffixes:
        if name in imported:
            return name
    folders = PurePosixPath(path).parts[:-1]
    start = (
        1
        if folders and folders[0] in {"src", "lib", "python"} and not (checkout / folders[0] / "__init__.py").exists()
        else 0
    )
    return suffixes[min(start, len(suffixes) - 1)]


def _python_files(checkout: Path) -> Iterator[str]:
    count = 0
    for file in sorted(checkout.rglob("*.py")):
        path = file.relative_to(checkout)
        folders = path.parts[:-1]
        if any(f.startswith(".") or f in SKIPPED_FOLDERS for f in folders) or file.is_symlink() or not file.is_file():
            continue
        if not file.resolve().is_relative_to(checkout.resolve()) or file.stat().st_size > MAX_BYTES:
            continue
        count += 1
        if count > MAX_FILES:
            return
        yield path.as_posix()


def _read(file: Path) -> str:
    with tokenize.open(file) as source:
        return source.read()


def _imported_by_tests(tests: dict[str, str]) -> frozenset[str]:
    names: set[str] = set()
    for text in tests.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _definitions(tree: ast.Module, path: str, module: str, words: frozenset[str]) -> Iterator[Definition]:
    closely = any(name in words for name in _names(tree))
    dangers = _dangers(tree) if closely else {}
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield _function(node, path, module, "", dangers, closely)
        elif isinstance(node, ast.ClassDef):
            methods = [m for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)]
            yield _class(node, methods, path, module, dangers)
            yield from (_function(m, path, module, node.name, dangers, closely) for m in methods)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    kind = "function" if isinstance(node.value, ast.Lambda) else "value"
                    yield Definition(target.id, path, module, node.lineno, kind)


def _names(tree: ast.Module) -> Iterator[str]:
    """Names of a module's functions, classes, methods and values."""
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            yield from (m.name for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _top_level(node.body)
            yield from _top_level(node.orelse)
        else:
            yield node


def _function(
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    path: str,
    module: str,
    owner: str,
    dangers: dict[str, str],
    closely: bool,
) -> Definition:
    required, parameters = _signature(node.args, bool(owner))
    return Definition(
        node.name, path, module, node.lineno, "function", owner, required, parameters,
        generator=closely and any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own_nodes(node)),
        asynchronous=isinstance(node, ast.AsyncFunctionDef),
        returns=ast.unparse(node.returns).strip("'\"") if node.returns else "",
        danger=dangers.get(node.name, ""),
    )  # fmt: skip


def _class(
    node: ast.ClassDef,
    methods: list[ast.FunctionDef | ast.AsyncFunctionDef],
    path: str,
    module: str,
    dangers: dict[str, str],
) -> Definition:
    start = next((m for m in methods if m.name == "__init__"), None)
    required, parameters = _signature(start.args, True) if start else (0, ())
    bases = tuple(ast.unparse(base).rsplit(".", 1)[-1] for base in node.bases)
    danger = next((dangers[m.name] for m in methods if dangers.get(m.name)), "")
    return Definition(
        node.name, path, module, node.lineno, "class", "", required, parameters, bases=bases, danger=danger
    )


def _signature(arguments: ast.arguments, method: bool) -> tuple[int, tuple[str, ...]]:
    positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    if method and positional and positional[0] in {"self", "cls", "mcs"}:
        positional = positional[1:]
    keywords = [a.arg for a in arguments.kwonlyargs]
    required = max(0, len(positional) - len(arguments.defaults)) + sum(d is None for d in arguments.kw_defaults)
    return required, (*positional, *keywords)


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a function without those of functions inside it."""
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        yield child
        yield from _own_nodes(child)


def _dangers(tree: ast.Module) -> dict[str, str]:
    """Function name → why a stranger's arguments must not reach it, callers in the same module included."""
    calls: dict[str, set[str]] = {}
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        called = {ast.unparse(c.func) for c in ast.walk(node) if isinstance(c, ast.Call)}
        calls.setdefault(node.name, set()).update(called)
        bad = sorted(c for c in called if c in RUNS_CODE | RUNS_COMMANDS or c.split(".")[0] == "subprocess")
        if bad:
            found[node.name] = bad[0]
    for _ in range(len(calls)):
        more = {
            name: found[reached]
            for name, called in calls.items()
            if name not in found
            for reached in sorted({c.rsplit(".", 1)[-1] for c in called if c.split(".")[0] in {c, "self", "cls"}})
            if reached in found
        }
        if not more:
            break
        found.update(more)
    return found
