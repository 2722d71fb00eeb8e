"""Examples in docstrings under a candidate: what the code's own words say of it, whether its tests run them or not."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Collection, Iterator
from typing import Any

MOST = 200
"""Examples of one file that are run."""
WRITTEN, OTHERWISE = "what is written there", "something else"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Listener(doctest.DocTestRunner):
    """Runs the examples of one docstring and keeps what came of each."""

    def __init__(self, late: type[BaseException]) -> None:
        super().__init__(verbose=False, optionflags=FLAGS)
        self.late = late
        self.heard: list[list[str]] = []

    def report_start(self, out: Any, test: doctest.DocTest, example: doctest.Example) -> None:
        pass

    def report_success(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        if example.want:  # what is only set up says nothing
            self._note(test, example, WRITTEN)

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self._note(test, example, OTHERWISE)

    def report_unexpected_exception(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, exc_info: Any
    ) -> None:
        if issubclass(exc_info[0], self.late):
            raise exc_info[1]  # time is over for the whole docstring
        self._note(test, example, OTHERWISE)

    def _note(self, test: doctest.DocTest, example: doctest.Example, outcome: str) -> None:
        self.heard.append([f"the docstring of {test.name}: {example.source.strip()}", outcome])


def docstrings(files: Collection[str]) -> Iterator[doctest.DocTest]:
    """Docstrings with examples in the loaded modules of these files, in the order of their names."""
    modules = {getattr(module, "__file__", None): module for module in list(sys.modules.values())}
    for file in sorted(files):
        if file not in modules:
            continue
        left = MOST
        try:
            found = doctest.DocTestFinder(exclude_empty=True).find(modules[file], modules[file].__name__)
        except Exception:
            continue  # code that cannot be looked at has no examples
        for test in sorted(found):
            left -= len(test.examples)
            if test.examples and left >= 0:
                yield test


def run(test: doctest.DocTest, late: type[BaseException]) -> list[list[str]]:
    """[example, outcome] for every example of one docstring that says what is to come out. `late` is raised through."""
    listener = Listener(late)
    listener.run(test, out=lambda _: None)
    return listener.heard
