"""Answers for an install that nobody watches: a TOML file whose keys are the options, without their dashes.

    allow = ["10.20.0.0/16"]
    firewall = true
    yes = true

They are put before the words of the command line, which says the last word. An option that is not known is refused by
the same parser that refuses it at the command line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

from installer.errors import InstallError

NOT_FROM_A_FILE = {
    "medium": "install.sh knows where it lies",
    "fingerprint": "it comes by another way than a file that may lie beside the medium",
    "answers": "one file is enough",
    "help": "it is no answer",
}
_KEY = re.compile(r"[a-z][a-z-]*")


def expanded(words: Sequence[str]) -> list[str]:
    """The words with those of `--answers FILE` put after the verb. Raises InstallError."""
    rest, file = list(words), ""
    for at, word in enumerate(words):
        if word == "--answers" or word.startswith("--answers="):
            file = word.partition("=")[2] or "".join(words[at + 1 : at + 2])
            del rest[at : at + (1 if "=" in word else 2)]
            break
    else:
        return rest
    if not file:
        raise InstallError("--answers names no file", "--answers FILE")
    said = {word.partition("=")[0] for word in rest}
    return [*rest[:1], *read(Path(file), said), *rest[1:]]


def read(file: Path, said: set[str]) -> list[str]:
    """The file's answers as words; an option of `said` is passed over. Raises InstallError."""
    try:
        found = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InstallError(f"the answers in {file} cannot be read: {error}", "it is TOML: key = value") from error
    words = []
    for key, value in found.items():
        if not _KEY.fullmatch(key):
            raise InstallError(f"{file}: {key!r} is no option", "the options' names, without their dashes")
        if key in NOT_FROM_A_FILE:
            raise InstallError(f"{file}: {key} cannot be answered in a file", NOT_FROM_A_FILE[key])
        if f"--{key}" not in said:
            words += _words(file, key, value)
    return words


def _words(file: Path, key: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{key}"] if value else []
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [f"--{key}={one}" for one in value]
    if isinstance(value, str | int):
        return [f"--{key}={value}"]
    raise InstallError(f"{file}: {key} has a value that no option takes", "a text, a number, true, or a list of texts")
