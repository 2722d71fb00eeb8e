"""One contender tries one task, as the build stage would, and is judged by all tests, those held back included."""

from __future__ import annotations

import ast
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.by_hand import is_test
from appliance.errors import FactoryError, NotFound, PolicyRefused, Unavailable, VerificationFailed
from appliance.line.build import SEARCH, question, spoken, write_tests
from appliance.line.replay.ground import Ground
from appliance.line.replay.tasks import AUTO, Task, Tried
from appliance.line.similarity import rate
from appliance.line.strategies import Droid, Searching
from appliance.ports import Completion, Embedded, Model, Route
from appliance.work import Attempt, Plan, State, TestReport, WorkItem


@dataclass
class Counted:
    """A model that counts what it is asked."""

    model: Model
    said: list[Completion] = field(default_factory=list)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """See ports.Model."""
        return self.model.embed(texts)

    def embedded(self, texts: Sequence[str]) -> Embedded:
        """See ports.Embedder."""
        return self.model.embedded(texts)

    def chat(self, messages: Sequence[Mapping[str, str]], **options: Any) -> Completion:
        """See ports.Model."""
        answer = self.model.chat(messages, **options)
        self.said.append(answer)
        return answer

    def route(self, **asked: Any) -> Route:
        """See ports.Model."""
        return self.model.route(**asked)


@dataclass(frozen=True)
class Standing:
    """A task laid out: the tree, the item as the build stage would get it, and what a right change must pass."""

    task: Task
    tree: Path
    item: WorkItem
    good: frozenset[str]
    """Tests that pass once the fault is mended."""
    later: Mapping[str, str]
    """Tests the repository has got since: path → content."""
    held: int
    """Tests that fail or are missing before the change, and that no contender is shown."""
    sound: Mapping[str, str]
    """The files a slip is in, as they were."""
    similarity: Mapping[str, float]


@contextmanager
def standing(ground: Ground, task: Task, run: int, for_droids: bool = True) -> Iterator[Standing]:
    """Lay a task out, for droids with the suspects of its plan: search looks for them itself.

    Raises VerificationFailed when it no longer shows what it did.
    """
    with ground.place(task.id) as into:
        sound = ground.lay(task.base, task.mended, into.with_name("sound"))
        tree = ground.lay(task.base, task.broken, into)
        write_tests(tree, Plan(tests=task.tests))
        later = tests_since(ground, into.with_name("head")) if task.kind == "past" else {}
        good = ground.suite(put(sound, later)) if task.kind == "past" else ground.suite_of(task.base, sound)
        if later and (not good.complete or not good.passed):  # today's tests do not go with the code of then
            later, good = {}, ground.suite(ground.lay(task.base, task.mended, into.with_name("again")))
        broken = ground.suite(tree)
        failing = [test for test in task.acceptance if test in broken.failed]
        if len(failing) < len(task.acceptance) or not broken.complete or not good.complete:
            raise VerificationFailed(f"{task.id} no longer shows its fault", "`appliance learn tasks --renew`")
        plan = planned(task, broken, good)
        item = WorkItem(
            id=f"replay-{task.repo}-{run}-{task.id}", repo=task.repo, title=task.title, body=task.body,
            state=State.PLANNED, stage="build", plan=plan,
        )  # fmt: skip
        similarity = alike(ground, tree, item)
        searching = Searching(ground.sandbox, ground.settings, ground.home, ground.sandbox.python, ground.progress)
        suspects = searching.localise(tree, item, similarity)[:20] if for_droids else ()
        known = {*task.acceptance, *plan.baseline}
        yield Standing(
            task=task, tree=tree, item=item.with_(plan=plan.with_(suspects=suspects)),
            good=frozenset(good.passed), later=later, similarity=similarity,
            held=len([test for test in good.passed if test not in known and test not in broken.passed]),
            sound={name: (sound / name).read_text(encoding="utf-8") for name in slipped(task)},
        )  # fmt: skip


def planned(task: Task, broken: TestReport, good: TestReport) -> Plan:
    """The plan a contender is given: it knows the tests it may know. Of a past item, those are all of then."""
    shown = {
        test: outcome
        for test, outcome in broken.outcomes.items()
        if test in task.acceptance
        or (outcome == "passed" and (task.kind == "past" or (test in good.passed and not task.holds_back(test))))
    }
    return Plan(summary="replay", acceptance=task.acceptance, tests=task.tests, baseline=shown, base=task.base)


def tests_since(ground: Ground, into: Path) -> dict[str, str]:
    """The tests on the mirror's branch now."""
    try:
        tree = ground.repository.checkout(ground.repository.head(), into)
    except FactoryError:
        return {}
    found = {}
    for file in sorted(tree.rglob("*.py")):
        path = file.relative_to(tree).as_posix()
        if is_test(path) and not file.is_symlink():
            found[path] = file.read_text(encoding="utf-8", errors="surrogateescape")
    return found


def put(tree: Path, files: Mapping[str, str]) -> Path:
    """Write files into a tree."""
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content, encoding="utf-8", errors="surrogateescape")
    return tree


def alike(ground: Ground, tree: Path, item: WorkItem) -> Mapping[str, float]:
    """Similarity of report and functions; without an embedding model the order of candidates loses one voice."""
    try:
        return rate(tree, f"{item.title}\n{item.body}", ground.embedder)
    except FactoryError:
        return {}


def slipped(task: Task) -> list[str]:
    """Paths of a slip."""
    return [line.removeprefix("+++ b/") for line in task.broken.splitlines() if line.startswith("+++ b/")]


def trial(ground: Ground, stand: Standing, contender: str, run: int) -> Tried:
    """Let a contender try. Raises Unavailable, NotFound and PolicyRefused: then it is no fault of the contender."""
    counted, started = Counted(ground.model), time.monotonic()
    known = [*stand.item.plan.baseline] if stand.item.plan else []

    def suite(tree: Path, only: Sequence[str] = ()) -> TestReport:
        return ground.suite(tree, only or known)

    searching = Searching(ground.sandbox, ground.settings, ground.home, ground.sandbox.python, ground.progress)
    droid = Droid(counted, suite, ground.settings, ground.sandbox, ground.progress)
    attempts: list[Attempt] = []
    row = Tried(
        repo=stand.task.repo,
        run=run,
        task=stand.task.id,
        kind=stand.task.kind,
        contender=contender,
        outcome="none",
        held=stand.held,
    )
    try:
        for name in chosen(ground, stand, contender):
            strategy, model = (searching, "") if name == SEARCH else (droid, name)
            ground.progress(f"{stand.task.id} by {name}")
            attempts.append(strategy(stand.tree, stand.item, model, stand.similarity))
            if attempts[-1].outcome in ("plausible", "ambiguous"):
                break
    except (Unavailable, NotFound, PolicyRefused):
        raise
    except FactoryError as error:
        row = row.with_(outcome="error", detail=error.message)
    row = row.with_(
        seconds=round(time.monotonic() - started, 3), tried=sum(one.tried for one in attempts), calls=len(counted.said),
        prompt_tokens=sum(one.prompt_tokens for one in counted.said),
        completion_tokens=sum(one.completion_tokens for one in counted.said),
        model_seconds=round(sum(one.seconds for one in counted.said), 3),
        model=", ".join(sorted({f"{one.model}:{one.digest}".rstrip(":") for one in counted.said})),
    )  # fmt: skip
    return judged(ground, stand, row, attempts[-1]) if attempts and row.outcome != "error" else row


def chosen(ground: Ground, stand: Standing, contender: str) -> Sequence[str]:
    """Whom the build stage would ask, in order."""
    if contender != AUTO:
        return (contender,)
    plan = stand.item.plan
    asked, meaning = question(stand.item, ground.model, spoken(plan, ground.repository) if plan else "")
    return ground.model.route(**asked, meaning=meaning).candidates


def judged(ground: Ground, stand: Standing, row: Tried, last: Attempt) -> Tried:
    """The row with what the tests say of the change that would be shipped, or of the likeliest one shown."""
    row = row.with_(outcome=last.outcome, detail=last.detail[:500])
    if not last.candidates:
        return row
    best = last.candidates[0]
    restored = bool(stand.sound) and same_code(stand.sound, best.files, stand.tree)
    right = restored or passes(ground, stand, best.files)
    ships = last.outcome == "plausible"
    first = right if last.strategy == SEARCH else right and row.calls == 1
    return row.with_(
        first=first, selected=ships and right, wrong=ships and not right, restored=restored, found=best.found
    )


def same_code(sound: Mapping[str, str], files: Mapping[str, str], tree: Path) -> bool:
    """Do these files make the code what it was before the slip, whatever its layout?"""
    others = {path: text for path, text in files.items() if path not in sound}
    if any(not (tree / path).is_file() or (tree / path).read_text(encoding="utf-8") != others[path] for path in others):
        return False
    try:
        return all(
            ast.dump(ast.parse(files.get(path, ""))) == ast.dump(ast.parse(text)) for path, text in sound.items()
        )
    except SyntaxError:
        return False


def passes(ground: Ground, stand: Standing, files: Mapping[str, str]) -> bool:
    """Does every test pass that passes with the fault mended?"""
    copy = stand.tree.with_name("judged")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(stand.tree, copy, symlinks=True)
    report = ground.suite(put(put(copy, files), stand.later))
    return report.complete and all(report.outcomes.get(test) == "passed" for test in stand.good)
