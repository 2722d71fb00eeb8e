"""A value's shape as text: equal for values that behave alike, without addresses, bounded in size and depth."""

from __future__ import annotations

import itertools
import re
import types
from typing import Any

LIMIT = 1500
ITEMS = 60
DEPTH = 5

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{4,}")


def of(value: Any, depth: int = DEPTH) -> str:
    """The shape of a value; never raises an ordinary exception."""
    try:
        return _of(value, depth)[:LIMIT]
    except RecursionError:
        return f"<deep {type(value).__name__}>"
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"


def of_error(error: BaseException) -> str:
    """An exception's shape: its type alone, since messages are often incidental."""
    return f"raises {type(error).__name__}"


def _of(value: Any, depth: int) -> str:
    kind = type(value)
    if kind in (int, str, bytes, bool, type(None), complex, range):
        return repr(value[:LIMIT] if kind in (str, bytes) else value)
    if kind is float:
        return f"{value:.10g}"
    if depth <= 0:
        return f"<{kind.__name__}>"
    if isinstance(value, types.GeneratorType | map | filter | zip | enumerate | reversed | itertools.chain):
        return "iterator " + _of(list(itertools.islice(value, ITEMS)), depth - 1)
    if kind in (list, tuple):
        inner = ", ".join(_of(item, depth - 1) for item in value[:ITEMS])
        return f"[{inner}]" if kind is list else f"({inner})"
    if kind in (set, frozenset):
        return (
            kind.__name__
            + "{"
            + ", ".join(sorted(_of(item, depth - 1) for item in itertools.islice(value, 500))[:ITEMS])
            + "}"
        )
    if isinstance(value, dict):
        pairs = itertools.islice(value.items(), ITEMS)
        return (
            kind.__name__
            + "{"
            + ", ".join(f"{_of(key, depth - 1)}: {_of(item, depth - 1)}" for key, item in pairs)
            + "}"
        )
    if isinstance(value, BaseException):
        return of_error(value)
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | types.ModuleType):
        return f"<{getattr(value, '__qualname__', kind.__name__)}>"
    if kind.__repr__ is not object.__repr__:
        return f"{kind.__name__} {_ADDRESS.sub('', repr(value))}"
    state = getattr(value, "__dict__", None)
    return f"{kind.__name__} {_of(dict(state), depth - 1)}" if state else f"<{kind.__name__}>"
