"""A project of a forge before a real bare repository, in nobody's words: what all the test servers keep and do.

People act through methods (`open_issue`, `comment`, `review`, `merge` …), by login; each server shows the same state in
its own API's words. What is not allowed raises `Refused`, whose reason each server turns into its own code. Everything
that happens is told to `told`, which `server.py` overrides to send webhooks. Merges are real ones, done by git.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, ClassVar

from tests.contracts.forges.nouns import (
    ZERO,
    Change,
    Comment,
    Happened,
    Issue,
    Kind,
    Line,
    Push,
    Refused,
    Review,
    Right,
    Status,
    Token,
    Verdict,
    now,
)

HOOK = """#!/bin/sh
[ -e protected ] && [ "$1" = refs/heads/main ] && { echo 'protected branch' >&2; exit 1; }
exit 0
"""

CLOSING = r"(?i)\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?) #(\d+)"
"""The words by which a merged change closes an issue, on every forge."""


class Project:
    """The project `team/shop`: `owner` may administer it, `ann` and the box `factory` write, `guest` read."""

    path: ClassVar[str] = "team/shop"
    one_sequence: ClassVar[bool] = True
    """Issues and changes share their numbers (not so on GitLab)."""
    scopes: ClassVar[frozenset[str]] = frozenset()
    """What a token needs for all that the box does."""

    def __init__(self, bare: Path) -> None:
        self.bare = bare
        self.lock = threading.RLock()
        self.people: dict[str, Right] = {"factory": "write", "ann": "write", "owner": "admin", "guest": "read"}
        self.tokens = {"t0ken": Token("factory", self.scopes), "0wner": Token("owner", self.scopes)}
        self.issues: dict[int, Issue] = {}
        self.changes: dict[int, Change] = {}
        self.comments: list[Comment] = []
        self.reviews: list[Review] = []
        self.statuses: list[Status] = []
        self.styles = ["merge", "squash"]
        """Allowed merge styles, the default one first: merge, squash, rebase, rebase-merge, fast-forward."""
        self.required = 0
        """Approvals that a merge into main needs."""
        self.protected = False
        (bare / "hooks" / "update").write_text(HOOK)
        (bare / "hooks" / "update").chmod(0o755)
        self._refs = self.refs()

    def told(self, happened: Happened) -> None:
        """Something happened."""

    # -- people -------------------------------------------------------------------------------------------------------

    def may(self, login: str, right: Right) -> bool:
        order = ("none", "read", "write", "admin")
        return order.index(self.people.get(login, "none")) >= order.index(right)

    def open_issue(self, by: str, title: str, labels: tuple[str, ...] = (), body: str = "") -> int:
        with self.lock:
            issue = self.issues[self._next("issue")] = Issue(self._next("issue"), by, title, body, labels=list(labels))
        self.told(Happened(by, "opened", issue))
        return issue.number

    def thread(self, kind: Kind, number: int) -> Issue | Change:
        """Raises Refused."""
        found = (self.issues if kind == "issue" else self.changes).get(number)
        if found is None:
            raise Refused("none")
        return found

    def edit(self, by: str, kind: Kind, number: int, **fields: Any) -> None:
        """Change title, body, draft or open."""
        thread = self.thread(kind, number)
        if isinstance(thread, Change) and thread.merged:
            raise Refused("closed")
        moved = "open" in fields and fields["open"] != thread.open
        if isinstance(thread, Change) and moved:
            thread.head = "" if fields["open"] else self.tip(thread)
        for name, value in fields.items():
            setattr(thread, name, value)
        thread.updated = now()
        if moved:
            thread.closed, thread.closed_by = ("", "") if thread.open else (thread.updated, by)
        self.told(Happened(by, ("reopened" if thread.open else "closed") if moved else "edited", thread))

    def close_issue(self, by: str, number: int) -> None:
        self.edit(by, "issue", number, open=False)

    def label(self, by: str, number: int, name: str, kind: Kind = "issue") -> None:
        self._mark(by, "labelled", self.thread(kind, number), "labels", name)

    def unlabel(self, by: str, number: int, name: str, kind: Kind = "issue") -> None:
        self._mark(by, "unlabelled", self.thread(kind, number), "labels", name)

    def assign(self, by: str, number: int, login: str, kind: Kind = "issue") -> None:
        self._mark(by, "assigned", self.thread(kind, number), "assignees", login)

    def unassign(self, by: str, number: int, login: str, kind: Kind = "issue") -> None:
        self._mark(by, "unassigned", self.thread(kind, number), "assignees", login)

    def comment(self, by: str, number: int, text: str, kind: Kind = "issue") -> Comment:
        thread = self.thread(kind, number)
        with self.lock:
            comment = Comment(self._next("comment"), kind, number, by, text)
            self.comments.append(comment)
        thread.updated = now()
        self.told(Happened(by, "created", comment))
        return comment

    def rewrite(self, by: str, id: int, text: str) -> Comment:
        comment = next((one for one in self.comments if one.id == id), None)
        if comment is None:
            raise Refused("none")
        comment.text, comment.updated = text, now()
        self.told(Happened(by, "edited", comment))
        return comment

    def open_change(self, by: str, branch: str, target: str, title: str, body: str = "") -> Change:
        if any(one.open and (one.branch, one.target) == (branch, target) for one in self.changes.values()):
            raise Refused("exists")
        if not self.head(branch) or not self.head(target):
            raise Refused("none")
        with self.lock:
            change = Change(self._next("change"), by, title, body, branch=branch, target=target)
            self.changes[change.number] = change
        self.told(Happened(by, "opened", change))
        return change

    def review(
        self, by: str, number: int, verdict: Verdict, text: str = "", lines: tuple[tuple[str, int, str], ...] = ()
    ) -> Review:
        """`lines` are (path, line of the new side, text)."""
        change = self.changes[number]
        with self.lock:
            review = Review(self._next("review"), number, by, verdict, self.tip(change), text, self.may(by, "write"))
            for path, line, said in lines:
                review.lines.append(Line(self._next("line") + len(review.lines), path, line, said, by, review.commit))
            self.reviews.append(review)
        change.updated = now()
        self.told(Happened(by, "submitted", review))
        return review

    def dismiss(self, by: str, id: int) -> None:
        review = next(one for one in self.reviews if one.id == id)
        review.dismissed = True
        self.changes[review.number].updated = now()
        self.told(Happened(by, "dismissed", review))

    def status(self, by: str, commit: str, gate: str, state: str, text: str = "", url: str = "") -> Status:
        """`state` in the forge's own words."""
        self.statuses.append(Status(commit, gate, state, text, url, by))
        self.told(Happened(by, "made", self.statuses[-1]))
        return self.statuses[-1]

    def protect(self, approvals: int = 0) -> None:
        """Nobody pushes to main any more; people merge into it."""
        self.required, self.protected = approvals, True
        (self.bare / "protected").touch()

    # -- changes ------------------------------------------------------------------------------------------------------

    def tip(self, change: Change) -> str:
        return change.head or self.head(change.branch)

    def last_words(self, change: Change) -> dict[str, Review]:
        """Login → their last review that says yes or no and counts."""
        said = [one for one in self.reviews if one.number == change.number and one.verdict != "commented"]
        last = {one.by: one for one in said if one.official}
        return {who: one for who, one in last.items() if not one.dismissed}

    def approvals(self, change: Change) -> list[str]:
        """Who approved what is there now."""
        tip = self.tip(change)
        words = self.last_words(change)
        return [who for who, one in words.items() if one.verdict == "approved" and one.commit == tip]

    def mergeable(self, change: Change) -> bool:
        done = self._run("merge-tree", "--write-tree", self.head(change.target), self.tip(change))
        return done.returncode == 0

    def behind(self, change: Change) -> int:
        """Commits of the target that the change's branch lacks."""
        return int(self.git("rev-list", "--count", f"{self.tip(change)}..{self.head(change.target)}"))

    def merge(self, number: int, style: str = "", *, by: str = "ann", head: str = "", message: str = "") -> str:
        """Merge as the forge's button does; the commit on the target. `head`: only while the branch stands there."""
        with self.lock:
            change = self.changes[number]
            tip, target, style = self.tip(change), self.head(change.target), style or self.styles[0]
            self._allow(change, style, head, tip)
            made = self._made(style, target, tip, message or f"Merge branch '{change.branch}' into '{change.target}'")
            self.git("update-ref", f"refs/heads/{change.target}", made, target)
            change.open, change.head, change.base, change.merged = False, tip, target, made
            change.merged_by, change.style, change.updated = by, style, now()
        self.told(Happened(by, "merged", change))
        self.notice(by)
        for found in re.findall(CLOSING, f"{change.body}\n{message}"):
            if int(found) in self.issues and self.issues[int(found)].open:
                self.close_issue(by, int(found))
        return made

    def _allow(self, change: Change, style: str, head: str, tip: str) -> None:
        """Raises Refused."""
        refusals = {
            "closed": not change.open, "draft": change.draft, "style": style not in self.styles,
            "head": bool(head) and head != tip, "approvals": len(self.approvals(change)) < self.required,
            "changes": any(one.verdict == "changes" for one in self.last_words(change).values()),
            "conflict": not self.mergeable(change), "behind": style == "fast-forward" and self.behind(change) > 0,
        }  # fmt: skip
        for reason, holds in refusals.items():
            if holds:
                raise Refused(reason)

    def _made(self, style: str, target: str, tip: str, message: str) -> str:
        if style == "fast-forward":
            return tip
        if style in ("rebase", "rebase-merge"):
            tip = self.rebased(target, tip)
            if style == "rebase":
                return tip
        tree = self.git("merge-tree", "--write-tree", target, tip)
        parents = ("-p", target) if style == "squash" else ("-p", target, "-p", tip)
        return self.git("commit-tree", tree, *parents, "-m", message)

    def rebased(self, target: str, tip: str, *options: str) -> str:
        """The branch's commits again, upon the target; as they are when they lie there already."""
        with tempfile.TemporaryDirectory() as folder:
            self.git("worktree", "add", "--quiet", "--detach", folder, tip)
            try:
                self.git("-C", folder, "rebase", "--quiet", *options, target)
                return self.git("-C", folder, "rev-parse", "HEAD")
            finally:
                self.git("worktree", "remove", "--force", folder)

    # -- git ----------------------------------------------------------------------------------------------------------

    def head(self, branch: str) -> str:
        """ "" where there is no such branch."""
        return self._run("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}").stdout.strip()

    def refs(self) -> dict[str, str]:
        rows = self.git("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads").splitlines()
        return dict(row.rsplit(" ", 1) for row in rows)  # type: ignore[arg-type,misc]

    def notice(self, by: str) -> None:
        """Tell of branches that moved since the last look, as a push by somebody."""
        with self.lock:
            before, self._refs = self._refs, self.refs()
            moved = [name for name in {**before, **self._refs} if before.get(name) != self._refs.get(name)]
        for name in moved:
            for change in self.changes.values():
                if change.open and change.branch == name and name in self._refs:
                    change.updated = now()
                    self.told(Happened(by, "pushed", change))
            self.told(Happened(by, "made", Push(name, before.get(name, ZERO), self._refs.get(name, ZERO))))

    def commit(self, by: str, branch: str, message: str, files: dict[str, str] | None = None) -> str:
        """Somebody's commit on a branch (a new one begins at main), without a clone."""
        parent = self.head(branch) or self.head("main")
        with tempfile.TemporaryDirectory() as folder:
            self.git("worktree", "add", "--quiet", "--detach", folder, parent)
            for name, content in (files or {}).items():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_text(content)
            self.git("-C", folder, "add", "-A")
            self.git("-C", folder, "commit", "--quiet", "--allow-empty", "-m", message)
            made = self.git("-C", folder, "rev-parse", "HEAD")
            self.git("worktree", "remove", "--force", folder)
        self.git("update-ref", f"refs/heads/{branch}", made)
        self.notice(by)
        return made

    def git(self, *words: str) -> str:
        done = self._run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        identity = ("-c", "user.name=Forge", "-c", "user.email=forge@localhost")
        return subprocess.run(["git", *identity, *words], cwd=self.bare, capture_output=True, text=True)

    def _mark(self, by: str, action: str, thread: Issue | Change, where: str, name: str) -> None:
        marks: list[str] = getattr(thread, where)
        setattr(thread, where, [*(one for one in marks if one != name), *([] if action.startswith("un") else [name])])
        thread.updated = now()
        self.told(Happened(by, action, thread, name))

    def _next(self, what: str) -> int:
        sizes = {
            "issue": len(self.issues) + (len(self.changes) if self.one_sequence else 0),
            "change": len(self.changes) + (len(self.issues) if self.one_sequence else 0),
            "comment": len(self.comments), "review": len(self.reviews),
            "line": sum(len(one.lines) for one in self.reviews),
        }  # fmt: skip
        return sizes[what] + 1
