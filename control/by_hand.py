"""A changed plan and a patch, checked against the repository before the line is asked: for pages, API and the command
line. What is wrong is said at once, and nothing is changed then."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from appliance.by_hand import (
    LONGEST_PATCH,
    Editable,
    HandedIn,
    PlanEdit,
    as_text,
    check_fits,
    check_open,
    editable,
    problems,
)
from appliance.errors import Conflict, LimitExceeded, UsageError
from appliance.events import Fact
from appliance.ledger.chain import Recorded
from appliance.ledger.legal import check_legal
from appliance.ports import Repository
from appliance.work import NewTest, WorkItem

AUTHOR = re.compile(r"[^<>\n]{1,100} <[^<>\s@]{1,100}@[^<>\s@]{1,150}>")
SAYS = {
    "acceptance": "at most 50 tests, each a line of at most 500 characters",
    "files": "at most 20 files, each a line of at most 500 characters",
    "tests": "at most 50 tests",
    "notes": "at most 4,000 characters",
    "why": "1 to 2,000 characters: it becomes part of the record",
}  # fmt: skip


def base_of(item: WorkItem, repository: Repository) -> str:
    """The commit that the item's work begins at. Raises NotFound for a repository that is not mirrored yet."""
    return item.plan.base if item.plan and item.plan.base else repository.head()


def plan_edit(
    item: WorkItem, after: Editable, why: str, repository: Repository, protected: Sequence[str]
) -> tuple[PlanEdit | None, list[str]]:
    """The changed plan as the line takes it, or what is wrong with it.

    Raises Conflict for an item whose state forbids it, NotFound and Unavailable as the mirror does.
    """
    check_legal("plan", item.id, item.state)
    check_open(item)
    found = problems(after, item.plan, repository.paths(base_of(item, repository)), protected)
    before = editable(item.plan)
    if after == before:
        found.append("nothing is changed")
    if not why.strip():
        found.append(f"say why: {SAYS['why']}")
    if found:
        return None, found
    try:
        return PlanEdit(before=before, after=after, why=why.strip()), []
    except ValidationError as error:
        return None, told(error)


def told(error: ValidationError) -> list[str]:
    """What a form or a program sent wrong, in words."""
    names = dict.fromkeys(str(one["loc"][0]) if one["loc"] else "the plan" for one in error.errors())
    return [f"{name}: {SAYS.get(name, 'it cannot be so')}" for name in names]


def of_form(
    fields: Mapping[str, str], paths: Sequence[str], contents: Sequence[str], before: Editable, by: str
) -> Editable:
    """A plan as a page sends it: tests and files a line each. Raises ValidationError."""
    known = {(test.path, test.content): test for test in before.tests}
    tests = []
    for path, content in zip(paths, contents, strict=False):
        clean = content.replace("\r\n", "\n")
        if path.strip() or clean.strip():
            clean = clean if clean.endswith("\n") else f"{clean}\n"
            own = NewTest(path=path.strip(), content=clean, origin=f"written by {by}")
            tests.append(known.get((path.strip(), clean), own))
    return Editable.model_validate(
        {
            **{name: [line.strip() for line in fields.get(name, "").splitlines() if line.strip()]
               for name in ("acceptance", "files")},
            "tests": tests, "notes": fields.get("notes", "").replace("\r\n", "\n").strip(),
        }
    )  # fmt: skip


def handed_in(
    item: WorkItem, patch: bytes, by: str, repository: Repository, address: str, *, author: str = "", message: str = "",
    why: str = "",
) -> HandedIn:  # fmt: skip
    """A patch as the line takes it: it fits on the item's base, and brings nothing that may not be there.

    The author is who `author` names, else who the patch names (`git format-patch`), else who hands it in, as `address`.

    Raises Conflict, LimitExceeded, UsageError, VerificationFailed (it does not fit, in git's words), and as the mirror
    does.
    """
    check_legal("hand_in", item.id, item.state)
    check_open(item)
    if len(patch) > LONGEST_PATCH:
        raise LimitExceeded(
            f"the patch has more than {LONGEST_PATCH // 1024} KiB", "hand in the change alone, in parts"
        )
    if not patch.strip():
        raise UsageError("the patch is empty", "make one with `git diff` or `git format-patch --stdout`")
    if author and not AUTHOR.fullmatch(author):
        raise UsageError(f"{author[:80]!r} names no author", "like `Ada Example <ada@example.org>`")
    if item.taken_by not in ("", by):
        raise Conflict(f"{item.taken_by} has taken {item.id} over", "it can be given back first")
    base = base_of(item, repository)
    workspace = repository.workspace(base)
    try:
        fits = workspace.combined(patch)
    finally:
        workspace.close()
    whose = author or (fits.author if AUTHOR.fullmatch(fits.author) else "") or address
    try:
        handed = HandedIn(
            base=base, diff=fits.diff, files=fits.files, author=whose, message=(message or fits.message).strip(),
            why=why,
        )  # fmt: skip
    except ValidationError as error:
        raise UsageError("; ".join(told(error)), "shorten it") from error
    check_fits(item, by, handed)
    return handed


def edits(history: Sequence[Recorded]) -> list[tuple[Recorded, PlanEdit]]:
    """Changes of an item's plan, oldest first, each with who asked for it and when."""
    found = []
    for event in history:
        if event.kind == Fact.COMMAND_GIVEN and event.payload.get("verb") == "plan":
            try:
                found.append((event, PlanEdit.model_validate(json.loads(str(event.payload.get("text", ""))))))
            except (ValueError, ValidationError):
                continue  # of another release
    return found


def difference(before: Editable, after: Editable) -> tuple[str, str]:
    """Both plans as texts to be compared."""
    return as_text(before), as_text(after)
