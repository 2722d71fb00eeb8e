"""Put a changed source in force: hot, by exchanging the code of live functions, or cold, before anything is imported.

Hot works when only the bodies of functions differ. Where one of these ran while the tests were being collected, what
it computed then is out of date: the candidate is `stale`, and what its tests say is a good guess. Only the outermost
function around the edit is compiled, which keeps a candidate at a few milliseconds however long its file is.
"""

from __future__ import annotations
import __future__

import ast
import gc
import importlib.abc
import importlib.machinery
import os
import types
from collections.abc import Callable, Sequence
from typing import Any

Place = tuple[str, str, int]
"""File, name and first line of a code object."""

Edit = tuple[str, int, int, str]
"""Path relative to the working folder, start and end in characters of the source as it was, new text."""

_FUTURE = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}


class NeedsCold(Exception):
    """This change concerns what runs at import."""


def calls_into(seen: set[Place], root: str) -> Callable[..., None]:
    """A trace function that notes which functions under `root` are called."""

    def trace(frame: types.FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if code.co_filename.startswith(root):
            seen.add((code.co_filename, code.co_name, code.co_firstlineno))

    return trace


def apply_edits(text: str, edits: Sequence[tuple[int, int, str]]) -> str:
    """The text with spans replaced; spans are those of the text as it was and do not overlap."""
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def by_file(edits: Sequence[Edit]) -> dict[str, list[tuple[int, int, str]]]:
    """Edits grouped by file."""
    grouped: dict[str, list[tuple[int, int, str]]] = {}
    for path, start, end, new in edits:
        grouped.setdefault(path, []).append((start, end, new))
    return grouped


class Source:
    """One file as it was, with its functions' extents."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        with open(self.path, encoding="utf-8", newline="") as file:
            self.text = file.read()
        self.starts = _line_starts(self.text)
        tree = ast.parse(self.text)
        self.flags = _future_flags(tree)
        self.functions: list[tuple[int, int, tuple[str, ...]]] = []
        self._find(tree, ())
        self.tail = _imports(tree)

    def _find(self, parent: ast.AST, classes: tuple[str, ...]) -> None:
        """Outermost functions: (first line, last line, names of the classes around)."""
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                self.functions.append((first, node.end_lineno or node.lineno, classes))
            elif isinstance(node, ast.ClassDef):
                self._find(node, (*classes, node.name))
            elif isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While | ast.ExceptHandler):
                self._find(node, classes)

    def around(self, edits: Sequence[tuple[int, int, str]]) -> tuple[int, int, tuple[str, ...]] | None:
        """The outermost function that holds all the edits."""
        first, last = min(edit[0] for edit in edits), max(edit[1] for edit in edits)
        for start, end, classes in self.functions:
            if self.starts[start - 1] <= first and last <= self.starts[end]:
                return start, end, classes
        return None

    def compiled(
        self, function: tuple[int, int, tuple[str, ...]], edits: Sequence[tuple[int, int, str]]
    ) -> types.CodeType:
        """Code of a module that defines just this function, at its own place."""
        first, last, classes = function
        offset, limit = self.starts[first - 1], self.starts[last]
        body = apply_edits(self.text[offset:limit], [(s - offset, e - offset, new) for s, e, new in edits])
        indent = len(body) - len(body.lstrip(" \t"))
        if indent and not classes:
            classes = ("",)
        heads = ["if 1:" if not name else f"class {name}:" for name in classes]
        if len(heads) >= first or len(heads) > indent:
            raise NeedsCold
        head = "\n" * (first - 1 - len(heads)) + "".join(f"{' ' * depth}{text}\n" for depth, text in enumerate(heads))
        return compile(head + body + self.tail, self.path, "exec", flags=self.flags, dont_inherit=True)


class LiveFunctions:
    """Every live function of the repository, found once after collection, by the place of its code."""

    def __init__(self, root: str, called: set[Place]) -> None:
        self.called = called
        self.stale = False
        """Whether what was put in force ran at import, as it was before."""
        self.by_place: dict[Place, list[types.FunctionType]] = {}
        self.sources: dict[str, Source] = {}
        for thing in gc.get_objects():
            if isinstance(thing, types.FunctionType) and thing.__code__.co_filename.startswith(root):
                code = thing.__code__
                self.by_place.setdefault((code.co_filename, code.co_name, code.co_firstlineno), []).append(thing)

    def source(self, path: str) -> Source:
        if path not in self.sources:
            self.sources[path] = Source(path)
        return self.sources[path]

    def ready(self, edits: Sequence[Edit]) -> bool:
        """Read the files once here, before the fork, where every child has them; False when an edit lies outside
        functions, or in one that ran while the tests were being collected, and therefore needs a cold runner."""
        for path, spans in by_file(edits).items():
            source = self.source(path)
            for span in spans:
                function = source.around([span])
                if function is None:
                    return False
        return True

    def exchange(self, edits: Sequence[Edit]) -> None:
        """Put the edits in force. Raises NeedsCold, SyntaxError or ValueError (source with null bytes)."""
        changes: list[tuple[types.FunctionType, types.CodeType]] = []
        for path, spans in by_file(edits).items():
            source = self.source(path)
            by_function: dict[Any, list[tuple[int, int, str]]] = {}
            for span in spans:
                by_function.setdefault(source.around([span]), []).append(span)
            if None in by_function:
                raise NeedsCold
            for function, inside in by_function.items():
                old, new = source.compiled(function, []), source.compiled(function, inside)
                self._pair(old, new, changes, outside=True)
        for live, code in changes:
            live.__code__ = code

    def _pair(self, old: types.CodeType, new: types.CodeType, changes: list[Any], *, outside: bool) -> None:
        inner_old, inner_new = _inner(old), _inner(new)
        own = _own(old) != _own(new)
        place = (old.co_filename, old.co_name, old.co_firstlineno)
        live = [] if old.co_name == "<module>" else self._live(old)
        if own and outside and not live:
            raise NeedsCold
        self.stale |= own and place in self.called
        if live and not _same(old, new):
            if old.co_freevars != new.co_freevars:
                raise NeedsCold
            changes += [(function, new) for function in live]
        for index, (name, code) in enumerate(inner_old):
            match = inner_new[index][1] if index < len(inner_new) and inner_new[index][0] == name else None
            if match is not None:
                self._pair(code, match, changes, outside=not live and outside)
            elif self._live(code):
                raise NeedsCold

    def _live(self, code: types.CodeType) -> list[types.FunctionType]:
        """Live functions that run this very code."""
        found = self.by_place.get((code.co_filename, code.co_name, code.co_firstlineno), ())
        return [function for function in found if _same(function.__code__, code)]


class Overlay(importlib.abc.MetaPathFinder):
    """Makes imports of the changed files see the new source, without writing it (other children share the disk)."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self.sources: dict[str, bytes] = {}
        for path, spans in by_file(edits).items():
            with open(path, encoding="utf-8", newline="") as file:
                self.sources[os.path.abspath(path)] = apply_edits(file.read(), spans).encode()
        for path, source in self.sources.items():
            compile(source, path, "exec", dont_inherit=True)  # a syntax error is found before anything runs

    def install(self) -> None:
        """From now on, in this process."""
        real_data = importlib.machinery.SourceFileLoader.get_data
        real_code = importlib.machinery.SourceFileLoader.get_code
        sources = self.sources

        def get_data(loader: Any, path: str) -> bytes:
            return sources.get(os.path.abspath(path)) or real_data(loader, path)

        def get_code(loader: Any, fullname: str) -> Any:
            path = os.path.abspath(loader.get_filename(fullname))
            if path not in sources:
                return real_code(loader, fullname)
            return compile(sources[path], path, "exec", dont_inherit=True)

        importlib.machinery.SourceFileLoader.get_data = get_data  # type: ignore[method-assign]
        importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign,assignment]

    def write(self) -> None:
        """To disk, for tests that start processes of their own."""
        for path, source in self.sources.items():
            with open(path, "wb") as file:
                file.write(source)


def _line_starts(text: str) -> list[int]:
    """Where each line starts, as the compiler counts lines: a form feed does not end one."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts


def _future_flags(tree: ast.Module) -> int:
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for alias in node.names:
                flags |= _FUTURE.get(alias.name, 0)
    return flags


def _imports(tree: ast.Module) -> str:
    """Imports of all names that the module imports, to be compiled with a function of it: for `name.call()` the
    compiler makes other code where it knows that `name` is a module (CPython 3.11, `is_import_originated`)."""
    names: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return "".join(f"\nimport _ as {name}" for name in sorted(names - {"*"}))


def _inner(code: types.CodeType) -> list[tuple[str, types.CodeType]]:
    return [(const.co_name, const) for const in code.co_consts if isinstance(const, types.CodeType)]


def _own(code: types.CodeType) -> tuple[Any, ...]:
    """What a code object does itself, without the functions defined in it and without line numbers."""
    consts = tuple(
        (const.co_name if isinstance(const, types.CodeType) else (type(const), repr(const))) for const in code.co_consts
    )
    return (
        code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_flags,
        code.co_argcount, code.co_kwonlyargcount, code.co_posonlyargcount, getattr(code, "co_exceptiontable", b""),
    )  # fmt: skip


def _same(old: types.CodeType, new: types.CodeType) -> bool:
    if _own(old) != _own(new):
        return False
    pairs = zip(_inner(old), _inner(new), strict=True)
    return all(_same(one[1], other[1]) for one, other in pairs)
