"""Where a model is imported from: one file, all parts of a split one, or a folder. Names only; nothing is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import LimitExceeded, NotFound, Unavailable, UsageError
from models.examine import POOLING_FILE
from models.facts import PART

MAX_FILES = 2000
MAX_PARTS = 1000


@dataclass(frozen=True)
class Source:
    """Files in one folder that the gate shall look at."""

    folder: Path
    names: tuple[str, ...]
    stem: str
    """What the model is called when nobody gives it a name."""
    skipped: tuple[str, ...] = ()
    """Folders inside it, which are not looked into."""


def find(path: Path) -> Source:
    """The files to look at for `path`.

    Raises:
        NotFound: nothing is there.
        UsageError: it is neither a file nor a folder with files, or one part of a split model alone.
        LimitExceeded: too many files.
        Unavailable: the folder cannot be read.
    """
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file():
            return _file(path)
    except OSError as error:
        if not isinstance(error, PermissionError):  # a name too long, for one
            raise NotFound(f"there is no file {path}", "check the path") from error
        raise Unavailable(f"cannot look into {path}: {error.strerror}", "make it readable") from error
    raise NotFound(f"there is no file {path}", "give the path of a .gguf file or of a model's folder")


def _file(path: Path) -> Source:
    found = PART.fullmatch(path.name)
    if found is None:
        return Source(path.parent, (path.name,), path.stem)
    count, stem = int(found["count"]), found["stem"]
    if not 1 <= int(found["n"]) <= count <= MAX_PARTS:
        raise UsageError(f"{path.name} cannot be: part {found['n']} of {found['count']}", "check the file's name")
    names = tuple(f"{stem}-{n:05}-of-{count:05}.gguf" for n in range(1, count + 1))
    if lost := [name for name in names if not (path.parent / name).is_file()]:
        raise NotFound(f"{len(lost)} of {count} parts are missing: {', '.join(lost[:3])}", "put all parts side by side")
    return Source(path.parent, names, stem)


def _folder(path: Path) -> Source:
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    names = [entry.name for entry in entries if entry.is_file()]
    if (path / POOLING_FILE).is_file():
        names.append(POOLING_FILE)
    if not names:
        raise UsageError(f"the folder {path} holds no files", "give the path of a .gguf file or of a model's folder")
    if odd := [name for name in names if not name.isprintable()]:
        raise UsageError(f"the folder holds a file called {odd[0]!r}", "no model has names like that; rename it")
    if len(names) > MAX_FILES:
        raise LimitExceeded(f"the folder {path} holds {len(names)} files, more than {MAX_FILES}", "name the model")
    skipped = tuple(
        f"{entry.name}/" for entry in entries if entry.is_dir() and f"{entry.name}/config.json" not in names
    )
    return Source(path, tuple(names), _stem(path, names), skipped)


def _stem(path: Path, names: list[str]) -> str:
    """The name of the folder; of its only GGUF file, when it holds one."""
    stems = {re.sub(r"-\d{5}-of-\d{5}$", "", Path(name).stem) for name in names if name.lower().endswith(".gguf")}
    return stems.pop() if len(stems) == 1 else path.resolve().name
