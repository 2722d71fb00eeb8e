"""Candidates put in force in a live process: the same code as the whole file would give."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from appliance.repair.runner import candidate

STDLIB = Path(sysconfig.get_paths()["stdlib"])


def functions(code: CodeType) -> Iterator[CodeType]:
    """The code objects inside, at any depth."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const
            yield from functions(const)


@pytest.mark.parametrize("name", ["posixpath", "argparse", "dataclasses", "statistics", "subprocess", "textwrap"])
def test_a_function_compiled_alone_is_the_function_compiled_with_its_module(name: str) -> None:
    """Else every candidate of it would need the cold runner, which is twenty times dearer."""
    path = STDLIB / f"{name}.py"
    source = candidate.Source(str(path))
    whole = {
        (code.co_name, code.co_firstlineno): code
        for code in functions(compile(source.text, str(path), "exec", dont_inherit=True))
    }
    for function in source.functions:
        alone = next(c for c in functions(source.compiled(function, [])) if c.co_firstlineno == function[0])
        assert candidate._same(alone, whole[alone.co_name, alone.co_firstlineno]), alone
