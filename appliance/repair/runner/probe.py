"""What a candidate does with inputs the tests do not have.

The tests run once more while calls into the repository are recorded; then the same functions are called again with
varied arguments, and each call is answered with the shape of what came back. Candidates that answer alike behave
alike. Each set of arguments is drawn with a seed of its own, so that every candidate of one bug is asked the same. The
examples in the docstrings of the changed files are run, too.
"""

from __future__ import annotations

import asyncio
import doctest
import inspect
import random
import signal
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from . import documented, inputs, shape
from .children import Reply, Tell, limit_cpu
from .suite import Suite

SAMPLES = 25
"""Recorded calls kept for one function."""

CALL_SECONDS = 0.1
"""CPU time for one call."""

DOCSTRING_SECONDS = 1.0
"""CPU time for the examples of one docstring."""

CHUNK = 20

Code = tuple[str, types.CodeType]
"""A code object and its file: code of the same text at the same line of another file is equal to it."""


OBJECTS = 40
"""Objects kept of one class, to be handed to later calls."""


class TooLong(BaseException):
    """A call used up its time."""


class Recorder:
    """Keeps arguments of calls into the repository: those made from outside it, and those of the functions named."""

    def __init__(self, root: str, code_files: set[str], targets: set[tuple[str, int]]) -> None:
        self.root, self.code_files, self.targets = root, code_files, targets
        self.calls: dict[Code, list[inputs.Arguments]] = {}

    def trace(self, frame: types.FrameType, event: str, arg: Any) -> None:
        """A global trace function: sees calls only."""
        code = frame.f_code
        if code.co_filename not in self.code_files or code.co_name.startswith("<"):
            return
        kept = self.calls.setdefault((code.co_filename, code), [])
        if len(kept) >= SAMPLES or not self._asked_for(frame):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + _stars(code)]
        try:
            kept.append(inputs.copied({name: frame.f_locals[name] for name in names}))
        except KeyError:
            return  # an argument lives in a cell, or this is a generator going on

    def _asked_for(self, frame: types.FrameType) -> bool:
        code = frame.f_code
        if (code.co_filename, code.co_firstlineno) in self.targets:
            return True
        caller = frame.f_back
        return caller is None or caller.f_code.co_filename not in self.code_files


def _stars(code: types.CodeType) -> int:
    return bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)


def run(root: str, suite: Suite, tests: Sequence[str], request: dict[str, Any], tell: Tell) -> Reply:
    """Record, vary, call, answer."""
    code_files = {root + path for path in request["files"]}
    targets = {(root + path, line) for path, line in request["targets"]}
    recorder = Recorder(root, code_files, targets)
    limit_cpu(request["record_cpu"])
    sys.settrace(recorder.trace)
    suite.run(tests, lambda index, outcome, spent, message: True)
    sys.settrace(None)
    limit_cpu(request["cpu"])
    functions = _functions(recorder)
    pool: dict[type, list[Any]] = {}
    for asked in functions:
        said: list[list[str]] = []
        for arguments in _arguments(asked, request, max(5, request["count"] // len(functions)), pool):
            said.append(_ask(asked, arguments, pool))
            if len(said) >= CHUNK:
                tell({"calls": said})
                said = []
        tell({"calls": said})
    for test in documented.docstrings(code_files):
        tell({"calls": _heard(test)})
    return {"status": "done"}


@dataclass(frozen=True)
class Asked:
    """A function that is called again."""

    label: str
    function: types.FunctionType
    seen: Sequence[inputs.Arguments]


def _arguments(asked: Asked, request: dict[str, Any], count: int, pool: inputs.Pool) -> Iterator[inputs.Arguments]:
    """Those that were seen, and new ones."""
    yield from map(inputs.copied, asked.seen)
    for number in range(count):
        rng = random.Random(f"{request['seed']} {asked.label} {number}")
        yield inputs.vary(asked.seen, request["literals"], rng, pool)


def _functions(recorder: Recorder) -> list[Asked]:
    """Recorded functions that exist exactly once, in a fixed order: those first that make objects."""
    import gc

    gc.unfreeze()
    live: dict[Code, list[types.FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename in recorder.code_files:
            live.setdefault((thing.__code__.co_filename, thing.__code__), []).append(thing)
    found = [
        Asked(key[1].co_qualname, live[key][0], seen)
        for key, seen in recorder.calls.items()
        if seen and len(live.get(key, ())) == 1
    ]
    return sorted(
        found,
        key=lambda one: (not one.label.endswith(("__new__", "__init__")), one.function.__module__ or "", one.label),
    )


def _ask(asked: Asked, arguments: inputs.Arguments, pool: dict[type, list[Any]]) -> list[str]:
    """[the call, its outcome] as text; objects that it makes go to the pool."""
    code = asked.function.__code__
    key = f"{asked.label}({', '.join(f'{name}={shape.of(value, 3)}' for name, value in arguments.items())})"
    values = dict(arguments)
    positional = [values.pop(name) for name in code.co_varnames[: code.co_argcount]]
    named = {name: values.pop(name) for name in code.co_varnames[code.co_argcount :][: code.co_kwonlyargcount]}
    at = code.co_argcount + code.co_kwonlyargcount
    if code.co_flags & inspect.CO_VARARGS:
        positional += values.pop(code.co_varnames[at])
        at += 1
    if code.co_flags & inspect.CO_VARKEYWORDS:
        named.update(values.pop(code.co_varnames[at]))
    made: list[Any] = []
    outcome = _timed(lambda: _called(asked.function, positional, named, made))
    for thing in [*made, *(positional[:1] if made and asked.label.endswith("__init__") else ())]:
        if type(thing).__module__ != "builtins" and len(pool.get(type(thing), ())) < OBJECTS:
            pool.setdefault(type(thing), []).append(thing)
    return [key, outcome]


def _called(function: Callable[..., Any], positional: list[Any], named: dict[str, Any], made: list[Any]) -> str:
    """The outcome as text; the result itself goes to `made`."""
    before = [shape.of(value) for value in positional]
    try:
        result = function(*positional, **named)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        outcome = shape.of(result)
        made.append(result)
    except TooLong:
        raise
    except BaseException as error:
        outcome = shape.of_error(error)
    after = [shape.of(value) for value in positional]
    moved = [
        f"; argument {n + 1} becomes {now}"
        for n, (was, now) in enumerate(zip(before, after, strict=True))
        if was != now
    ]
    return outcome + "".join(moved)


def _heard(test: doctest.DocTest) -> list[list[str]]:
    """What came of one docstring's examples; nothing when they take too long."""
    heard: list[list[str]] = []

    def run() -> str:
        heard.extend(documented.run(test, TooLong))
        return ""

    _timed(run, DOCSTRING_SECONDS)
    return heard


def _timed(call: Callable[[], str], seconds: float = CALL_SECONDS) -> str:
    """The call's answer, or that it did not end."""

    def late(signal: int, frame: object) -> None:
        raise TooLong

    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)
    try:
        return call()
    except TooLong:
        return "does not end"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
