"""How natural a line of Python is: a hashed n-gram model over tokens, built on the box in seconds.

Counts of 1- to 4-grams lie in one table of hashes, and a token's probability backs off to shorter contexts ("stupid
back-off", Brants et al. 2007). Built from the standard library and installed packages, so that nothing is shipped.
The file that is repaired has one of its own.
"""

from __future__ import annotations

import os
import re
import sysconfig
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.ports import Progress

FILE = "ngram.npz"
ORDER = 4
BITS = 25
"""Size of the table: 2**25 counts of 16 bits, 64 MiB; 24 million grams of 6 million tokens collide seldom."""
OWN_BITS = 18
"""The same for one file."""
BACK_OFF = 0.4
TOKENS = 6_000_000
"""Tokens read at most: about 8 s on one core."""
LARGEST_FILE = 300_000

TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\"[^\"\n]*\"|'[^'\n]*'|\n[ \t]*|[-+*/%&|^=<>!]=?|\*\*|//|[^\s\w]")
MULTIPLIERS = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], dtype=np.uint64)

Ids = NDArray[np.uint64]


class NGrams:
    """The model. Log-probabilities are natural logarithms."""

    def __init__(self, counts: NDArray[np.uint16] | NDArray[np.int32], total: int) -> None:
        self._counts = counts
        self._total = max(1, total)

    def surprise(self, texts: Sequence[str]) -> list[float]:
        """For each text, minus the mean log-probability of its tokens; higher is stranger, 0 for no tokens."""
        table: dict[str, int] = {}
        rows = [_ids(tokens(text), table) for text in texts]
        flat = np.concatenate([np.zeros(0, dtype=np.uint64), *rows])
        starts = np.repeat(np.cumsum([0, *map(len, rows)])[:-1], [len(row) for row in rows])
        depth = np.arange(len(flat)) - starts  # tokens of the same text before this one
        logs = np.full(len(flat), np.log(BACK_OFF**ORDER / self._total))
        shorter = np.full(len(flat), self._total, dtype=np.float64)
        for order in range(1, ORDER + 1):
            at = np.flatnonzero(depth >= order - 1)
            grams = flat[at[:, None] - np.arange(order - 1, -1, -1)] if len(at) else np.zeros((0, order), np.uint64)
            seen = self._counts[_hash(grams, len(self._counts))].astype(np.float64)
            context = shorter[at] if order == 1 else shorter[at - 1]
            found = seen > 0
            shares = np.minimum(1.0, seen[found] / np.maximum(context[found], seen[found]))
            # a text's first tokens have no longer context, which is no fault of theirs
            missed = np.minimum(ORDER - 1, depth[at[found]]) - (order - 1)
            logs[at[found]] = np.log(shares) + missed * np.log(BACK_OFF)
            shorter = np.zeros(len(flat))
            shorter[at] = seen
        ends = np.cumsum([len(row) for row in rows])
        return [
            -float(logs[end - len(row) : end].mean()) if len(row) else 0.0 for row, end in zip(rows, ends, strict=True)
        ]


class Own:
    """How a file itself writes: code repeats itself within a file far more than across files (Tu, Su and Devanbu 2014,
    "On the localness of software")."""

    def __init__(self, text: str) -> None:
        self._counts: NDArray[np.int32] = np.zeros(1 << OWN_BITS, dtype=np.int32)
        self._total = self._add(text, 1)

    def stranger(self, old: str, news: Sequence[str]) -> list[float]:
        """How much stranger each new text reads to the file than the old one, in nats per token. That the old one
        stands in the file speaks neither for it nor for what it shares with a new one."""
        self._add(old, -1)
        try:
            model = NGrams(self._counts, self._total)
            before, *after = model.surprise([old, *news])
            return [one - before for one in after]
        finally:
            self._add(old, 1)

    def _add(self, text: str, times: int) -> int:
        ids = _ids(tokens(text))
        for order in range(1, min(ORDER, len(ids)) + 1):
            grams = np.lib.stride_tricks.sliding_window_view(ids, order)
            np.add.at(self._counts, _hash(grams, len(self._counts)), times)
        return len(ids)


def tokens(text: str) -> list[str]:
    """Tokens as the model knows them: long numbers are one class, strings another, indentation is a newline."""
    found = []
    for token in TOKEN.findall(text):
        if token[0] == "\n":
            found.append("\n")
        elif token[0] in "\"'":
            found.append('""' if len(token) == 2 else '"s"')
        elif token[0].isdigit() and len(token) > 2:
            found.append("999")
        else:
            found.append(token)
    return found


def ensure_ngram(policy: Path, progress: Progress, leave_out: Callable[[Path], bool] = lambda _: False) -> Path:
    """Build the model into the home's policy folder unless it is there; atomic. Returns its file.

    `leave_out` names source files not to learn from: those that a measurement is made on.
    """
    file = policy / FILE
    if file.exists():
        return file
    progress("building a language model of Python from the standard library and installed packages")
    counts, total = build(sources(leave_out))
    descriptor, temporary = tempfile.mkstemp(dir=policy, prefix=FILE)
    with os.fdopen(descriptor, "wb") as out:
        np.savez_compressed(out, counts=counts, total=total)
    Path(temporary).replace(file)
    progress(f"language model built from {total:,} tokens")
    return file


def load(policy: Path | None) -> NGrams | None:
    """The box's model; None when there is none or it cannot be read (the ranking then does without)."""
    if policy is None or not (policy / FILE).exists():
        return None
    try:
        with np.load(policy / FILE, allow_pickle=False) as stored:
            return NGrams(stored["counts"], int(stored["total"]))
    except (OSError, ValueError, KeyError):
        return None


def build(texts: Iterator[str], most: int = TOKENS) -> tuple[NDArray[np.uint16], int]:
    """Count n-grams of all orders over texts, until `most` tokens are read."""
    counts = np.zeros(1 << BITS, dtype=np.uint32)
    total = 0
    known: dict[str, int] = {}
    for text in texts:
        ids = _ids(tokens(text), known)
        for order in range(1, ORDER + 1):
            if len(ids) >= order:
                grams = np.lib.stride_tricks.sliding_window_view(ids, order)
                np.add.at(counts, _hash(grams, len(counts)), 1)
        total += len(ids)
        if total >= most:
            break
    counts[counts == 1] = 0  # what was seen once says little, and would fill the table with false friends
    return np.minimum(counts, 65535).astype(np.uint16), total


def _ids(words: list[str], known: dict[str, int] | None = None) -> Ids:
    table = {} if known is None else known
    for word in words:
        if word not in table:
            table[word] = zlib.crc32(word.encode("utf-8", "surrogatepass"))
    return np.fromiter((table[word] for word in words), dtype=np.uint64, count=len(words))


def _hash(grams: Ids, places: int) -> Ids:
    """One index into a table of so many places, a power of two, for each row of token ids."""
    order = grams.shape[1]
    mixed = np.full(len(grams), order, dtype=np.uint64)
    for column in range(order):
        mixed = (mixed ^ grams[:, column]) * MULTIPLIERS[column]
        mixed ^= mixed >> np.uint64(29)
    return mixed & np.uint64(places - 1)


def sources(leave_out: Callable[[Path], bool] = lambda _: False) -> Iterator[str]:
    """Python files of the standard library, then of installed packages, tests left out, in a fixed order."""
    paths = sysconfig.get_paths()
    for folder in (paths["stdlib"], paths["purelib"]):
        for file in sorted(Path(folder).rglob("*.py")):
            parts = file.relative_to(folder).parts
            if any(part in ("test", "tests", "idlelib", "lib2to3", "site-packages", "pip") for part in parts):
                continue
            if leave_out(file):
                continue
            try:
                if file.stat().st_size <= LARGEST_FILE:
                    yield file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
