"""How well repair by search does on bugs that no template author wrote.

    python tests/benchmarks/bench_repair.py [--n 12] [--seed 1] [--known 1,3,8] [--half test|train|both] [--cpu 20]

A repository of several real modules (the standard library's, installed packages') gets tests made of recorded inputs
and outputs. One slip is seeded in one module (`line.replay.slips`, which knows nothing of the repair's templates). The
search sees `known` examples of the broken function, one of which fails; about a hundred held-out ones grade what it
would ship. Prints the share shipped, the share wrong among the shipped, asked, none, candidates and seconds.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import json
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from repair_recording import Example, ask, copied_name, examples, install, is_subject, write_tests
from repair_subjects import SUBJECTS, Subject

from appliance.computers.probe import open_sandbox
from appliance.computers.suite import run_suite
from appliance.config import Home
from appliance.line.replay.slips import Mutant, mutants
from appliance.ports import Limits
from appliance.repair.edits import new_contents
from appliance.repair.ngram import ensure_ngram
from appliance.repair.problem import Problem
from appliance.repair.search import search
from appliance.repair.source import Source
from appliance.repair.templates import edits_of
from appliance.settings import RepairSettings, Settings

NEIGHBOURS = 3
"""Modules of a repository besides the broken one."""
NEIGHBOUR_EXAMPLES = 4
LIMITS = Limits(seconds=300.0, cpu_seconds=300.0)


@dataclass
class Row:
    """One bug and what the search made of it."""

    kind: str
    module: str
    known: int
    line: str
    decision: str
    right: bool
    any_right: bool
    """Whether any candidate shown would have been right."""
    first_right: bool
    """Whether the likeliest one would have been."""
    one_edit: bool
    """Whether one edit of the search's library restores the sound text. Where not, another edit may still be right."""
    found: int
    tried: int
    cpu: float
    wall: float
    why: str = ""


class Bench:
    """Bugs, one after another."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.options = folder, options
        self.rng = random.Random(options.seed)
        home = Home(folder / "home")
        for inner in (home.root, *home.folders):
            inner.mkdir(exist_ok=True)
        self.policy = Path(options.policy) if options.policy else home.policy
        ensure_ngram(self.policy, lambda _: None, leave_out=is_subject)  # it must not know the right answers
        self.sandbox = open_sandbox(Settings().computers, home)
        self.settings = RepairSettings(cpu_seconds=options.cpu, pair_seconds=options.pairs)
        self._recorded: dict[tuple[str, str], list[Example]] = {}

    def subjects(self) -> list[Subject]:
        wanted = {"train": 0, "test": 1}.get(self.options.half)
        return [
            s
            for s in SUBJECTS
            if wanted is None or hashlib.sha256(s.module.split(".")[0].encode()).digest()[0] % 2 == wanted
        ]

    def recorded(self, subject: Subject) -> list[Example]:
        """Examples of the sound function."""
        key = (subject.module, subject.call)
        if key not in self._recorded:
            with tempfile.TemporaryDirectory(dir=self.folder) as root:
                install(subject.module, Path(root))
                found = examples(subject, Path(root), random.Random(repr(subject)))
                deeper = Path(root, "a", "b")  # what hangs on the working folder is no example of the function
                deeper.mkdir(parents=True)
                install(subject.module, deeper)
                again = ask(deeper, subject, [arguments for arguments, _ in found])
                self._recorded[key] = [one for one, answer in zip(found, again, strict=True) if one[1] == answer]
        return self._recorded[key]

    def rows(self) -> Iterable[Row]:
        """One bug per round: a subject, a mutant that some example sees, a number of known examples."""
        subjects = self.subjects()
        known = [int(n) for n in self.options.known.split(",")]
        made = tries = 0
        while made < self.options.n and tries < self.options.n * 20:
            tries += 1
            subject = self.rng.choice(subjects)
            row = self._round(subject, known[made % len(known)], f"bug{tries}")
            if row is not None:
                made += 1
                yield row

    def _round(self, subject: Subject, known: int, name: str) -> Row | None:
        recorded = self.recorded(subject)
        tree = self.folder / name
        tree.mkdir()
        try:
            if len(recorded) < 12:
                return None
            file = install(subject.module, tree)
            sound = file.read_text(encoding="utf-8")
            lines = self._lines(tree, subject, file, recorded)
            for mutant in mutants(sound, lines.__contains__, self.rng, 12):
                file.write_text(mutant.text, encoding="utf-8")
                now = ask(tree, subject, [arguments for arguments, _ in recorded])
                seen = [example for example, answer in zip(recorded, now, strict=True) if answer != example[1]]
                if seen and any(now):
                    answers = dict(zip(map(repr, recorded), now, strict=True))
                    row = self._search(tree, subject, mutant, recorded, seen, answers, known)
                    return row and replace(row, one_edit=restorable(mutant, sound))
            return None
        finally:
            shutil.rmtree(tree, ignore_errors=True)

    def _lines(self, tree: Path, subject: Subject, file: Path, recorded: Sequence[Example]) -> set[int]:
        """Lines of the module that the examples run: a slip elsewhere could not be seen."""
        code = f"""
import sys
sys.path.insert(0, {str(tree)!r})
import importlib
names = vars(importlib.import_module({copied_name(subject.module)!r}))
seen = set()
def local(frame, event, arg):
    seen.add(frame.f_lineno)
    return local
def trace(frame, event, arg):
    return local if frame.f_code.co_filename == {str(file)!r} else None
for text in {[repr(arguments) for arguments, _ in recorded[:40]]!r}:
    a = eval(text)
    sys.settrace(trace)
    try:
        eval({subject.call!r}, {{**names, "a": a}})
    except Exception:
        pass
    sys.settrace(None)
print(sorted(seen))
"""
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
        return set(ast.literal_eval(done.stdout or "[]"))

    def _search(
        self,
        tree: Path,
        subject: Subject,
        mutant: Mutant,
        recorded: Sequence[Example],
        seen: Sequence[Example],
        now: dict[str, str],
        known: int,
    ) -> Row | None:
        failing = self.rng.choice(list(seen))
        rest = [example for example in recorded if example is not failing]
        shown = [failing, *self.rng.sample(rest, min(known - 1, len(rest)))]
        own = write_tests(tree, subject, shown, 0)
        others = [s for s in self.subjects() if s.module.split(".")[0] != subject.module.split(".")[0]]
        for number, other in enumerate(self.rng.sample(others, NEIGHBOURS), start=1):
            install(other.module, tree)
            write_tests(tree, other, self.recorded(other)[:NEIGHBOUR_EXAMPLES], number)
        base = run_suite(self.sandbox, tree, "", LIMITS, self.sandbox.python)
        # a neighbour's answer may hang on the working folder: its test fails on sound code too, and no edit mends it
        failed = tuple(test for test in base.failed if test.startswith(own))
        if not failed or len(base.failed) == len(base.outcomes):
            return None
        gives = now[repr(failing)]
        report = f"Wrong result\n{subject.call} with a = {failing[0]!r} gives {gives} instead of {failing[1]}"
        problem = Problem(tree=tree, acceptance=failed, baseline=base.outcomes, report=report)
        said: list[float] = [time.monotonic()]
        found = search(
            problem,
            self.sandbox,
            LIMITS,
            self.settings,
            self.sandbox.python,
            lambda _: said.append(time.monotonic()),
            self.policy,
        )
        marks = [self._right(tree, subject, candidate.files, recorded) for candidate in found.candidates]
        right = found.decision == "ship" and marks[0]
        change = f"{mutant.before}  =>  {mutant.after}"
        why = f"{found.candidates[0].why} [{found.reason[-110:]}]" if found.candidates else found.reason
        return Row(
            mutant.kind,
            subject.module,
            known,
            change,
            found.decision,
            right,
            any(marks),
            marks[:1] == [True],
            False,
            len(found.candidates),
            found.tried,
            found.cpu_seconds,
            found.wall_seconds,
            why,
        )

    def _right(self, tree: Path, subject: Subject, files: Any, recorded: Sequence[Example]) -> bool:
        """Whether a candidate answers every recorded example as the sound function does."""
        with tempfile.TemporaryDirectory(dir=self.folder) as copy:
            shutil.copytree(tree, Path(copy, "t"))
            for path, content in files.items():
                Path(copy, "t", path).write_text(content, encoding="utf-8")
            now = ask(Path(copy, "t"), subject, [arguments for arguments, _ in recorded])
        return now == [answer for _, answer in recorded]


def restorable(mutant: Mutant, sound: str) -> bool:
    """Whether one edit of the search's library, anywhere in the broken function, leads back to the sound module."""
    source = Source("m.py", mutant.text)
    function = source.function_at(mutant.line)
    wanted = ast.dump(ast.parse(sound))
    letters = sorted(re.sub(r"[\s()]", "", sound))
    for edit in edits_of(source, dict.fromkeys(range(function.first, function.last + 1), 1.0)):
        text = new_contents(edit, {"m.py": mutant.text})["m.py"]
        if sorted(re.sub(r"[\s()]", "", text)) == letters:
            with contextlib.suppress(SyntaxError):
                if ast.dump(ast.parse(text)) == wanted:
                    return True
    return False


def share(count: int, of: int) -> str:
    return f"{100 * count / of:3.0f} %" if of else "  – "


def table(rows: Sequence[Row], title: str) -> None:
    """Figures by a property."""
    print(f"\n{title:<12} bugs shipped  right  wrong/shipped  asked (right first)  none   tried   CPU s (median)")
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault("all" if title == "all" else getattr(row, title), []).append(row)
    for name, group in sorted(groups.items(), key=lambda entry: str(entry[0]).rjust(9)):
        shipped = [row for row in group if row.decision == "ship"]
        asked = [row for row in group if row.decision == "ask"]
        wrong = [row for row in shipped if not row.right]
        wrong_share = share(len(wrong), len(shipped))
        none = len(group) - len(shipped) - len(asked)
        print(
            f"{name!s:<12} {len(group):4} {share(len(shipped), len(group))} "
            f"{share(len(shipped) - len(wrong), len(group))}     {wrong_share}          "
            f"{share(len(asked), len(group))} ({sum(row.first_right for row in asked)})"
            f"          {share(none, len(group))}"
            f" {statistics.median(row.tried for row in group):7.0f} {statistics.median(row.cpu for row in group):7.1f}"
        )


def told(row: Row) -> str:
    """One bug in one line."""
    verdict = row.decision
    if row.decision == "ship":
        verdict += " right" if row.right else " WRONG"
    elif row.any_right:
        verdict += " (right first)" if row.first_right else " (right shown)"
    figures = f"{row.tried:5} tried {row.cpu:5.1f} s"
    return f"{row.kind:<10} {row.module:<18} k={row.known} {verdict:<12} {figures} | {row.line} | {row.why}"[:260]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--known", default="1,3,8")
    parser.add_argument("--half", choices=("train", "test", "both"), default="test")
    parser.add_argument("--cpu", type=float, default=20.0, help="CPU seconds for single edits")
    parser.add_argument("--pairs", type=float, default=0.0, help="CPU seconds for pairs")
    parser.add_argument("--policy", default="", help="folder to keep the language model in")
    parser.add_argument("--json", default="", help="append each row to this file")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-repair-") as folder:
        try:
            for row in Bench(Path(folder), options).rows():
                rows.append(row)
                if options.json:
                    with Path(options.json).open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(row)) + "\n")
                if not options.quiet:
                    print(told(row), flush=True)
        except KeyboardInterrupt:
            print("stopped")
    if rows:
        for title in ("kind", "known", "one_edit", "all"):
            table(rows, title)
        cpu = sum(row.cpu for row in rows)
        print(f"\n{sum(row.tried for row in rows) / cpu:.0f} candidates validated per second of CPU")


if __name__ == "__main__":
    main()
