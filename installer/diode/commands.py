"""The verbs `export` and `receive`, the same on both sides of the link."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from installer.diode.receiving import receive, told
from installer.diode.sending import export
from installer.terminal import Terminal


def add(verbs: Any) -> None:
    """Add the verbs to a parser's."""
    verb = verbs.add_parser("export", help="write a file or folder as numbered chunks for a one-way link")
    verb.add_argument("--from", type=Path, required=True, dest="source", help="the file or folder")
    verb.add_argument("--drop", type=Path, required=True, help="the folder that the link sends from")
    verb.add_argument("--chunk", type=int, default=64, metavar="MIB", help="size of a chunk, 1 to 1024 MiB (64)")
    verb.add_argument("--only", default="", metavar="NUMBERS", help="chunks the other side lacks, as in 3-5,9")
    verb = verbs.add_parser("receive", help="put together what a one-way link brought, once all of it is there")
    verb.add_argument("--drop", type=Path, required=True, help="the folder that the link brings into")
    verb.add_argument("--to", type=Path, required=True, dest="target", help="the folder it is put together in")
    verb.add_argument("--remove", action="store_true", help="delete from the drop folder what was kept")


def run(asked: argparse.Namespace, terminal: Terminal) -> int:
    """Do what the words ask; the exit status: 1 while something is missing."""
    if asked.verb == "export":
        export(asked.source, asked.drop, terminal, asked.chunk, asked.only)
        return 0
    lacking = [found for found in receive(asked.drop, asked.target, terminal, asked.remove) if found.place is None]
    for found in lacking:
        terminal.say(told(found))
    return 1 if lacking else 0
