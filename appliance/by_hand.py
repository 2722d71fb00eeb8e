"""What people write for an item by hand: a changed plan, a patch. What is wrong with it is found here, before anything
is changed. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatch
from typing import Annotated

from pydantic import Field, StringConstraints

from appliance.errors import Conflict
from appliance.work import NewTest, Noun, Plan, WorkItem

MOST_TESTS = 50
"""Acceptance tests of a plan, and tests that it brings."""
MOST_FILES = 20
LONGEST_NOTES = 4000
LONGEST_WHY = 2000
LONGEST_TEST = 64 * 1024
"""Characters of a test that a plan brings."""
PATCH = "the patch"
"""Origin of a test that came with a patch."""
LONGEST_PATCH = 256 * 1024
"""Bytes of a patch: it is kept in the ledger, whole."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Editable(Noun):
    """The part of a plan that a person may change."""

    acceptance: tuple[Line, ...] = Field((), max_length=MOST_TESTS)
    files: tuple[Line, ...] = Field((), max_length=MOST_FILES)
    tests: tuple[NewTest, ...] = Field((), max_length=MOST_TESTS)
    notes: str = Field("", max_length=LONGEST_NOTES)


class PlanEdit(Noun):
    """A changed plan; the text of the verb `plan`."""

    before: Editable = Field(description="as the person saw it: a plan that changed meanwhile is not overwritten")
    after: Editable
    why: str = Field(min_length=1, max_length=LONGEST_WHY)


class Patched(Noun):
    """A patch as it fits on its base."""

    diff: str
    files: tuple[str, ...] = Field(description="paths that it touches")
    author: str = Field("", description="`Name <address>`, where the patch says who made it")
    message: str = Field("", description="of its commit, where it is one")


class HandedIn(Noun):
    """A patch that a person made; the text of the verb `hand_in`."""

    base: str = Field(description="the commit that it was checked to fit on")
    diff: str = Field(min_length=1, max_length=LONGEST_PATCH, description="unified diff against the base")
    files: tuple[str, ...] = Field(description="paths that it touches")
    author: str = Field(description="`Name <address>`")
    message: str = Field("", max_length=LONGEST_WHY, description="of the commit; empty: as the box would word it")
    why: str = Field("", max_length=LONGEST_WHY)


def held(item: WorkItem) -> bool:
    """Does a person work on it by hand, whose patch is not here yet?"""
    return bool(item.taken_by) and (item.change is None or not item.change.author)


def check_open(item: WorkItem) -> None:
    """Raises Conflict for an item whose change is on the server's branch."""
    if item.release is not None and not item.release.reverted_by:
        where = item.release.branch
        raise Conflict(f"the change of {item.id} is on {where} already", "report what is wrong with it anew")


def check_fits(item: WorkItem, by: str, handed: HandedIn) -> None:
    """Raises Conflict for another's item, another base, or a patch that brings the plan's own tests."""
    if item.taken_by not in ("", by):
        raise Conflict(f"{item.taken_by} has taken {item.id} over", "it can be given back first")
    if item.plan is not None and item.plan.base and handed.base != item.plan.base:
        raise Conflict(
            f"{item.id} stands on {item.plan.base[:12]} now, the patch was made on {handed.base[:12]}",
            "fetch that commit, make the patch on it, and hand it in again",
        )
    named = {test.path for test in item.plan.tests if test.origin != PATCH} if item.plan else set()
    if clash := sorted(named & set(handed.files)):
        raise Conflict(
            f"the patch touches {', '.join(clash)}, which the plan brings itself",
            f"leave it out, or change the plan: `appliance item plan {item.id}`",
        )


def editable(plan: Plan | None) -> Editable:
    """A plan as a person may change it; an empty one where there is none."""
    if plan is None:
        return Editable()
    return Editable(acceptance=plan.acceptance, files=plan.files, tests=plan.tests, notes=plan.notes)


def of_a_person(plan: Plan | None) -> Plan | None:
    """The plan, where a person changed it: it outlives what makes the box plan anew."""
    return plan if plan is not None and plan.by else None


def problems(wanted: Editable, plan: Plan | None, paths: Collection[str], protected: Sequence[str]) -> list[str]:
    """What is wrong with a changed plan, in words; empty when nothing is.

    `paths` are the files of the repository at the plan's base, `protected` the patterns of what no change may touch.
    """
    present, brought = set(paths), {test.path for test in wanted.tests}
    found = (
        [] if wanted.acceptance else ["name at least one acceptance test: without one nothing shows that it is done"]
    )
    for test in dict.fromkeys(wanted.acceptance):
        path, _, name = test.partition("::")
        if path not in present | brought:
            found.append(f"{test}: there is no file {path} at the base, and the plan brings none")
        elif not name and path.endswith(".py"):
            found.append(f"{test}: name one test of it, as in {path}::test_totals")
        elif plan is not None and plan.baseline and path not in brought and test not in plan.baseline:
            found.append(f"{test}: {path} has no such test at the base; it has {_some(plan.baseline, path)}")
    for path in dict.fromkeys(wanted.files):
        if path not in present:
            found.append(f"{path}: there is no such file at the base")
        elif is_protected(path, protected):
            found.append(f"{path} is protected: a change may not touch it")
    return found + _of_new_tests(wanted.tests, present, protected)


def _of_new_tests(tests: Iterable[NewTest], present: Collection[str], protected: Sequence[str]) -> list[str]:
    found, seen = [], set[str]()
    for test in tests:
        if not is_inside(test.path):
            found.append(f"{test.path}: a path within the repository is wanted, like tests/test_totals.py")
        elif test.path in present:
            found.append(
                f"{test.path} is there already: a change may not touch tests that judge it; choose another name"
            )
        elif not is_plain_test(test.path):
            found.append(f"{test.path} is no test by its name: begin it with test_, or put it below tests/")
        elif is_protected(test.path, protected):
            found.append(f"{test.path} is protected: a change may not touch it")
        elif test.path in seen:
            found.append(f"{test.path} is named twice")
        if not test.content.strip():
            found.append(f"{test.path} is empty")
        elif len(test.content) > LONGEST_TEST:
            found.append(f"{test.path} is longer than {LONGEST_TEST // 1024} KiB")
        seen.add(test.path)
    return found


def _some(baseline: Iterable[str], path: str) -> str:
    there = [test for test in baseline if test.startswith(f"{path}::")]
    return (", ".join(there[:5]) + (" …" if len(there) > 5 else "")) if there else "none"


def is_inside(path: str) -> bool:
    """Is it a path within a repository, as git writes it?

    >>> [is_inside(path) for path in ("tests/a.py", "/etc/x", "a/../b", ".git/config", "a//b", "a\\\\b")]
    [True, False, False, False, False, False]
    """
    parts = path.split("/")
    odd = any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
    return not odd and not re.search(r"[\\\x00-\x1f\x7f]", path)


def is_protected(path: str, patterns: Sequence[str]) -> bool:
    """Glob match on the whole path, case folded, as some servers' file systems do."""
    return any(fnmatch(path.lower(), pattern.lower()) for pattern in patterns)


def is_test(path: str) -> bool:
    """Does a path hold tests, by the usual names?"""
    parts = path.split("/")
    name = parts[-1]
    return (
        any(part in ("tests", "test") for part in parts[:-1])
        or name.startswith("test_")
        or name.endswith("_test.py")
        or name == "conftest.py"
    )


def is_plain_test(path: str) -> bool:
    """A test that may come with a change; a conftest.py decides how the others run, and is looked at by a person."""
    return is_test(path) and path.rpartition("/")[2] != "conftest.py"


def as_text(plan: Editable) -> str:
    """A plan in lines, to be compared with another."""
    lines = ["done when these pass:", *(f"  {test}" for test in plan.acceptance), "where to look:",
             *(f"  {path}" for path in plan.files)]  # fmt: skip
    for test in plan.tests:
        lines += [f"new test {test.path}:", *(f"  {line}" for line in test.content.splitlines())]
    lines += ["notes:", *(f"  {line}" for line in plan.notes.splitlines())]
    return "\n".join(lines) + "\n"
