"""Splits a report into blocks: running text, fenced code, interactive sessions, tables, tracebacks, test failures."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from enum import StrEnum

MAX_REPORT, MAX_LINE = 30_000, 1_000
"""Characters of a report and of one line of it that are read. What is longer is cut, never refused: some patterns take
time that grows with the square of a line's length, and a report is a stranger's text."""

_FENCE = re.compile(r"^\s*(```+|~~~+)\s*([\w+-]*)[^`]*$")
_PROMPT = re.compile(r"^\s*(?:>>> ?|In \[\d+\]: ?)")
_FRAME = re.compile(r'^\s*File "(?P<path>[^"\n]+)", line (?P<line>\d+)(?:, in (?P<function>[^\n]+))?')
_EXCEPTION_LINE = re.compile(r"^\s*(?P<name>(?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?::\s?(?P<message>.*))?$")
_TYPOGRAPHY = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u200b": None, "\r": None}
)


class BlockKind(StrEnum):
    """What a block is."""

    PROSE = "prose"
    CODE = "code"
    SESSION = "session"
    TABLE = "table"
    TRACEBACK = "traceback"
    FAILURE = "failure"


@dataclass(frozen=True)
class Frame:
    """One place a traceback names."""

    path: str
    line: int
    function: str
    source: str


@dataclass(frozen=True)
class Block:
    """One part of a report."""

    kind: BlockKind
    text: str
    language: str = ""
    frames: tuple[Frame, ...] = ()
    exception: str = ""


def clean(text: str) -> str:
    """The report with typographic quotes made plain and HTML comments (issue templates) removed."""
    text = "\n".join(line[:MAX_LINE] for line in text[:MAX_REPORT].split("\n"))
    plain = text.translate(_TYPOGRAPHY).expandtabs(4)
    plain = re.sub(r"<!--.*?-->", "", plain, flags=re.DOTALL)
    return re.sub(r"</?(?:details|summary|pre|code|br|b|i|p)\s*/?>", "\n", plain)


def split(text: str) -> list[Block]:
    """The blocks in the order of the report."""
    blocks: list[Block] = []
    prose: list[str] = []
    lines = [re.sub(r"^> (?!>>)|^>$", "", line) for line in clean(text).split("\n")]
    position = 0
    while position < len(lines):
        fence = _FENCE.match(lines[position])
        if fence:
            blocks += _lines(prose)
            prose = []
            end = _fence_end(lines, position, fence.group(1))
            inside = textwrap.dedent("\n".join(lines[position + 1 : end]))
            blocks += _fenced(inside, fence.group(2).lower())
            position = end + 1
        else:
            prose.append(lines[position])
            position += 1
    return blocks + _lines(prose)


def _fence_end(lines: list[str], start: int, mark: str) -> int:
    for position in range(start + 1, len(lines)):
        if lines[position].strip().startswith(mark) and not lines[position].strip().strip(mark[0]):
            return position
    return len(lines)


def _fenced(text: str, language: str) -> list[Block]:
    if any(_PROMPT.match(line) for line in text.split("\n")) or _has_special(text):
        return _lines(text.split("\n"), in_fence=True)
    return [Block(BlockKind.CODE, text, language)] if text.strip() else []


def _has_special(text: str) -> bool:
    return "Traceback (most recent call last)" in text or re.search(r"^E  +\S", text, re.MULTILINE) is not None


def _lines(lines: list[str], in_fence: bool = False) -> list[Block]:
    """Blocks of text outside fences (or inside one that mixes code with output)."""
    blocks: list[Block] = []
    pending: list[str] = []

    def settle() -> None:
        text = "\n".join(pending)
        if text.strip():
            blocks.append(Block(BlockKind.CODE if in_fence else BlockKind.PROSE, text))
        pending.clear()

    position = 0
    while position < len(lines):
        block, end = _special(lines, position)
        if block is None:
            pending.append(lines[position])
            position += 1
        else:
            settle()
            blocks.append(block)
            position = end
    settle()
    return blocks


def _special(lines: list[str], start: int) -> tuple[Block | None, int]:
    line = lines[start]
    if "Traceback (most recent call last)" in line or (_FRAME.match(line) and ", in " in line):
        return _traceback(lines, start)
    if _PROMPT.match(line):
        return _session(lines, start)
    if line.strip().startswith("|") or (
        " | " in line and start + 1 < len(lines) and re.match(r"^[\s|:-]+$", lines[start + 1])
    ):
        end = start
        while end < len(lines) and "|" in lines[end]:
            end += 1
        if end - start >= 3 and re.match(r"^[\s|:-]*-[\s|:-]*$", lines[start + 1]):
            return Block(BlockKind.TABLE, "\n".join(lines[start:end])), end
    if re.match(r"^\s*E  +\S", line):
        end = start
        while end < len(lines) and re.match(r"^\s*E(\s|$)", lines[end]):
            end += 1
        return Block(BlockKind.FAILURE, "\n".join(lines[start:end])), end
    if re.match(r"^ {4,}\S", line) and (start == 0 or not lines[start - 1].strip()):
        end = start
        while end < len(lines) and (re.match(r"^ {4,}", lines[end]) or not lines[end].strip()):
            end += 1
        text = textwrap.dedent("\n".join(lines[start:end])).rstrip()
        if re.search(r"\w\(", text):
            return Block(BlockKind.CODE, text), end
    return None, start


def _session(lines: list[str], start: int) -> tuple[Block, int]:
    """Prompts and their outputs; ends at a blank line that no further prompt or traceback follows."""
    end = start
    while end < len(lines):
        if not lines[end].strip():
            rest = next((later for later in lines[end:] if later.strip()), "")
            if not (_PROMPT.match(rest) or rest.strip().startswith("Out[")):
                break
        end += 1
    text = [re.sub(r"^(\s*)In \[\d+\]: ?", r"\1>>> ", line) for line in lines[start:end]]
    text = [re.sub(r"^(\s*)(?:\.\.\.:) ?", r"\1... ", re.sub(r"^(\s*)Out\[\d+\]: ?", r"\1", line)) for line in text]
    return Block(BlockKind.SESSION, textwrap.dedent("\n".join(text))), end


def _traceback(lines: list[str], start: int) -> tuple[Block, int]:
    """One traceback (the last of a chain counts), up to its exception line."""
    frames: list[Frame] = []
    position = start
    while position < len(lines):
        line = lines[position]
        frame = _FRAME.match(line)
        if frame:
            source = lines[position + 1].strip() if position + 1 < len(lines) else ""
            is_source = bool(source) and not _FRAME.match(lines[position + 1])
            frames.append(
                Frame(frame["path"], int(frame["line"]), (frame["function"] or "").strip(), source if is_source else "")
            )
            position += 2 if is_source else 1
            continue
        found = _EXCEPTION_LINE.match(line)
        if found and frames and _is_exception(found["name"]):
            return _block(lines, start, position + 1, frames, found["name"])
        if position > start and not line.strip() and frames:
            break
        position += 1
    return _block(lines, start, max(position, start + 1), frames, "")


def _block(lines: list[str], start: int, end: int, frames: list[Frame], exception: str) -> tuple[Block, int]:
    return Block(BlockKind.TRACEBACK, "\n".join(lines[start:end]), "", tuple(frames), exception.rsplit(".", 1)[-1]), end


def _is_exception(name: str) -> bool:
    last = name.rsplit(".", 1)[-1]
    return last.endswith(("Error", "Exception", "Warning", "Interrupt", "Iteration", "Exit")) or "." in name
