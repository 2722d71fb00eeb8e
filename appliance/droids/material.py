"""The code worth showing to a model, and the only way the droid reads the tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.droids import repo_map
from appliance.droids.definitions import find, outline, span
from appliance.droids.task import Task

MAX_FILES = 8
"""Files from which code is shown."""
NEAR = 30
"""Lines around a suspected place that lies in no function."""


@dataclass(frozen=True)
class Piece:
    """A piece of code with where it stands: a path, or path::name for one definition of a long file."""

    where: str
    text: str
    test: bool = False


class Tree:
    """A checkout, read safely: no links, nothing outside, text only."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def reading(self, path: str) -> str | None:
        """The file's text with its line ends as they are; None when there is no such text file."""
        if self.trouble(path) or not (self.root / path).is_file():
            return None
        return (self.root / path).read_bytes().decode("utf-8")

    def trouble(self, path: str) -> str:
        """Why a path cannot be edited whatever the edit; "" when it can."""
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\0" in path:
            return f"{path!r} is not a path inside the repository"
        place = self.root
        for part in pure.parts:
            place = place / part
            if place.is_symlink():
                return f"{path} goes through a link"
        if any(folder.exists() and not folder.is_dir() for folder in list(place.parents)[: len(pure.parts) - 1]):
            return f"{path} lies in something that is no folder"
        if not place.exists():
            return ""
        if not place.is_file():
            return f"{path} is no file"
        try:
            place.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            return f"{path} is not text in UTF-8"
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
        return ""


def ranked(task: Task) -> list[repo_map.Definition]:
    """What the repository defines, seen from this task."""
    mentioned = repo_map.identifiers(f"{task.title}\n{task.report}\n" + "\n".join(task.failures.values()))
    suspected: dict[str, float] = {}
    for one in task.suspects:
        suspected[one.path] = max(suspected.get(one.path, 0.0), one.score)
    return repo_map.rank(repo_map.sources(task.tree), mentioned, suspected)


def pieces(task: Task, known: list[repo_map.Definition], whole_lines: int) -> Iterator[Piece]:
    """Tests that must pass, then code: the most suspected first, whole files where they are short."""
    tree = Tree(task.tree)
    yield from tests(task, tree)
    yielded: set[str] = set()
    places = [(one.path, one.line) for one in task.suspects] + [(one.path, one.line) for one in known[:20]]
    for path, line in places:
        if path not in yielded and len({where.partition("::")[0] for where in yielded} | {path}) > MAX_FILES:
            continue
        text = tree.reading(path)
        if text is None:
            continue
        piece = Piece(path, text) if text.count("\n") <= whole_lines else around(path, text, line, whole_lines)
        if piece.where not in yielded:
            yielded.add(piece.where)
            yield piece


def around(path: str, text: str, line: int, whole_lines: int) -> Piece:
    """The innermost definition around a line that is short enough to show; else the lines near it."""
    lines = text.split("\n")
    around_it = [one for one in outline(text) if one[1] < line <= one[2] and one[2] - one[1] <= whole_lines]
    if around_it:
        name, start, end = max(around_it, key=lambda one: one[1])
        return Piece(f"{path}::{name}", "\n".join(lines[start:end]) + "\n")
    start, end = max(0, line - NEAR), min(len(lines), line + NEAR)
    return Piece(f"{path} lines {start + 1} to {end}", "\n".join(lines[start:end]) + "\n")


def tests(task: Task, tree: Tree) -> Iterator[Piece]:
    """The source of the tests that must pass, for reading only."""
    seen = set()
    for test in task.acceptance[:5]:
        path, _, name = test.partition("[")[0].partition("::")
        text = tree.reading(path) or ""
        node = find(text, name.replace("::", ".")) if name else None
        if node is not None and (path, name) not in seen:
            seen.add((path, name))
            start, end = span(node)
            yield Piece(f"{path}::{name}", "\n".join(text.split("\n")[start:end]) + "\n", test=True)
