"""A fresh clone outside the sandbox, where a change becomes a commit (ports.Workspace). Nothing of it is executed."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from appliance.by_hand import Patched
from appliance.errors import Conflict, FactoryError, NotFound, PolicyRefused, Unavailable, VerificationFailed
from appliance.mirror.address import Address, checked_branch, checked_commit, plain
from appliance.mirror.export import exactly, export
from appliance.mirror.git import Git
from appliance.mirror.lfs import Store
from appliance.mirror.lfs_server import LfsServer
from appliance.mirror.lfs_trees import changed, expand, take_back, whole
from appliance.mirror.patches import BEGINS
from appliance.settings import MirrorSettings

PASTED = re.compile(rb"^(?:diff --git |--- |From [0-9a-f]{40} ).*\r$", re.MULTILINE)
OURS = re.compile(r"^(Factory-[\w-]+|Assisted-by|Handed-in-by)(\s*):", re.MULTILINE | re.IGNORECASE)
"""Trailers that the box alone writes."""
DEEPER = "`appliance repo set NAME --depth 0` mirrors the whole history"


class Clone:
    """A clone of the mirror standing at one commit; pushes go to the server."""

    def __init__(
        self, git: Git, settings: MirrorSettings, mirror: Path, address: Address, commit: str, scratch: Path,
        lfs: tuple[Store, LfsServer] | None = None,
    ) -> None:  # fmt: skip
        self._git = git
        self._lfs = lfs
        self._settings = settings
        self._url = address.url
        self.base = checked_commit(commit)
        self._folder = Path(tempfile.mkdtemp(prefix="clone-", dir=scratch))
        self.tree = self._folder / "tree"
        self._there = {"GIT_DIR": str(self.tree / ".git"), "GIT_WORK_TREE": str(self.tree)}
        try:
            git(self._folder, "init", "--quiet", "--template=", "--", str(self.tree))
            exactly(self.tree / ".git")
            self._borrow(mirror)
            self._run("checkout", "--quiet", "--detach", commit, "--")
        except BaseException:
            self.close()
            raise

    def apply(self, diff: str) -> None:
        """See ports.Workspace."""
        try:
            names = self._allowed(diff)
            if self._lfs:
                expand(self._git, self._lfs[0], self.tree, names)
            self._run("apply", "--index", "--whitespace=nowarn", "-", stdin=_bytes(diff))
        except (Unavailable, VerificationFailed):
            raise
        except FactoryError as error:
            raise VerificationFailed(
                f"the change does not fit on {self.base[:12]}: {error.message}", "it is planned again"
            ) from error

    def commit(
        self, message: str, trailers: Sequence[tuple[str, str]], at: datetime | None = None, author: str = ""
    ) -> str:
        """See ports.Workspace."""
        if self._lfs:
            take_back(self._git, self._lfs[0], self.tree)
        text = _bytes(with_trailers(message, trailers))
        whose = (f"--author={author}",) if author else ()
        self._signed("commit", "--quiet", "--no-verify", "--cleanup=verbatim", *whose, "-F", "-", stdin=text, at=at)
        return self._head()

    def combined(self, patch: bytes) -> Patched:
        """See ports.Workspace."""
        if PASTED.search(patch):  # a browser's text field ends lines so; within a file they may be meant
            patch = patch.replace(b"\r\n", b"\n")
        try:
            text = patch.decode("utf-8")
        except UnicodeDecodeError as error:
            hint = "make it with `git diff` or `git format-patch`"
            raise VerificationFailed("the patch is not UTF-8 text", hint) from error
        whose, said = "", ""
        if BEGINS.match(patch):
            self.take(patch)
            whose = self._run("log", "-1", "--format=%an <%ae>", "HEAD", "--")
            commits = self._run("rev-list", "--count", f"{self.base}..HEAD", "--")
            said = self._run("log", "-1", "--format=%B", "HEAD", "--").strip() if commits == "1" else ""
        else:
            self.apply(text)
            self.commit("by hand", ())
        told = ("diff", "--no-renames", "--no-ext-diff", "--no-textconv", "--binary", self.base, "HEAD", "--")
        diff = self._git.raw(self.tree, *told, env=self._there).decode("utf-8", "replace")
        if not diff:
            raise VerificationFailed("the patch changes nothing", "it is on the base already")
        return Patched(diff=diff, files=self.changed_between(self.base, self._head()), author=whose, message=said)

    def take(self, series: bytes) -> str:
        """Commit a series of patches as `git format-patch` writes them, each with its own author and date; returns the
        last commit, which is the same each time. Raises VerificationFailed as `apply` does, and for a file that belongs
        to Git LFS and comes whole: only who made the patches can give it to their LFS server."""
        try:
            self._allowed(series.decode("utf-8", "surrogateescape"))
            self._signed("am", "--quiet", "--patch-format=mbox", "--committer-date-is-author-date", stdin=series)
        except (Unavailable, VerificationFailed):
            raise
        except FactoryError as error:
            raise VerificationFailed(
                f"the patches do not fit on {self.base[:12]}: {error.message}", "name the commit they were made on"
            ) from error
        made, git_dir = self._run("rev-list", f"{self.base}..HEAD", "--").split(), self.tree / ".git"
        if raw := whole(self._git, git_dir, git_dir / "index", made):
            raise VerificationFailed(
                f"the patches bring {', '.join(plain(name) for name in raw[:5])} whole, which belongs to Git LFS",
                "make them where git-lfs is installed (`git lfs migrate import`), or carry the files on their own",
            )
        return self._head()

    def merge_onto(
        self, head: str, message: str, trailers: Sequence[tuple[str, str]], at: datetime | None = None
    ) -> str:
        """See ports.Workspace."""
        checked_commit(head)
        ours = self._head()
        if self._run("rev-list", "--count", f"{ours}..{head}", "--") == "0":
            return ours
        self._run("checkout", "--quiet", "--detach", head, "--")
        text = self._folder / "message"
        text.write_bytes(_bytes(with_trailers(message, trailers)))
        words = ("--quiet", "--no-verify", "--no-ff", "--cleanup=verbatim", "-F", str(text))
        try:
            self._signed("merge", *words, ours, at=at)
        except Unavailable:
            raise
        except FactoryError as error:
            self._run("reset", "--quiet", "--hard", head, "--")
            raise Conflict(f"it does not merge onto {head[:12]}: {error.message}", error.hint) from error
        return self._head()

    def revert(self, commit: str, message: str, trailers: Sequence[tuple[str, str]], at: datetime | None = None) -> str:
        """See ports.Workspace."""
        parents = self._run("rev-list", "--parents", "-n", "1", checked_commit(commit), "--").split()[1:]
        if not parents and self._run("rev-parse", "--is-shallow-repository") == "true":
            raise Conflict(f"what was before {commit[:12]} is not mirrored", DEEPER)
        mainline = ("-m", "1") if len(parents) > 1 else ()
        try:
            self._signed("revert", "--no-commit", *mainline, commit)
        except Unavailable:
            raise
        except FactoryError as error:
            self._run("reset", "--quiet", "--hard", self.base, "--")
            raise Conflict(f"{commit[:12]} cannot be reverted cleanly: {error.message}", "revert it by hand") from error
        if self._run("write-tree") == self._run("rev-parse", "HEAD^{tree}"):
            raise Conflict(f"nothing of {commit[:12]} is left to take back", "somebody reverted it already")
        return self.commit(message, trailers, at)

    def changed_between(self, old: str, new: str) -> tuple[str, ...]:
        """See ports.Workspace."""
        commits = (checked_commit(old), checked_commit(new))
        names = self._run("diff-tree", "-r", "--no-renames", "--name-only", "-z", *commits, "--")
        return tuple(name for name in names.split("\0") if name)

    def export(self, commit: str, into: Path) -> Path:
        """See ports.Workspace."""
        return export(self._git, self.tree / ".git", commit, into, self._lfs[0] if self._lfs else None)

    def push(self, commit: str, branch: str) -> None:
        """See ports.Workspace."""
        refspec = f"{checked_commit(commit)}:refs/heads/{checked_branch(branch)}"
        self._give_files(commit)
        self._run_push(refspec)

    def publish(self, commit: str, branch: str, over: str | None = None) -> None:
        """See ports.Workspace."""
        name = f"refs/heads/{checked_branch(branch)}"
        self._give_files(checked_commit(commit))
        try:
            self._push(f"{checked_commit(commit)}:{name}", over)
        except (Conflict, PolicyRefused):
            there = self._run("ls-remote", "--", self._url, name).partition("\t")[0]
            if over is not None and there not in ("", over):
                raise
            self.delete(branch, over)  # a server that takes no forced pushes may still take a new branch
            self.push(commit, branch)

    def delete(self, branch: str, over: str | None = None) -> None:
        """See ports.Workspace."""
        name = f"refs/heads/{checked_branch(branch)}"
        if self._run("ls-remote", "--", self._url, name):
            self._push(f":{name}", over)

    def close(self) -> None:
        """See ports.Workspace."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _borrow(self, mirror: Path) -> None:
        """Read objects in the mirror, which never drops any: a clone is quick at any size and number of branches."""
        alternates = self.tree / ".git" / "objects" / "info" / "alternates"
        alternates.parent.mkdir(exist_ok=True)
        alternates.write_text(f"{mirror / 'objects'}\n", encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):  # only a mirror of some depth has one
            shutil.copyfile(mirror / "shallow", self.tree / ".git" / "shallow")

    def _give_files(self, commit: str) -> None:
        """Files of LFS go to the server before the branch that needs them. Raises PolicyRefused when one is nowhere."""
        if self._lfs:
            git_dir = self.tree / ".git"
            if pointers := changed(self._git, git_dir, git_dir / "index", self.base, commit):
                self._lfs[1].push(pointers, self._lfs[0])

    def _allowed(self, diff: str) -> list[bytes]:
        """The paths of a diff. Raises VerificationFailed for a diff that leaves the tree, or makes links or submodules.

        `git apply` refuses paths outside, in `.git` and beyond links by itself; this says so in plain words and does
        not depend on it.
        """
        listed = self._run("apply", "--numstat", "-z", "-", stdin=_bytes(diff))
        names = [entry.split("\t")[-1] for entry in listed.split("\0")]
        for name in names:
            parts = name.split("/")
            if name.startswith("/") or ".." in parts or any(part.lower() == ".git" for part in parts):
                raise VerificationFailed(f"the change names {name!r}, which is not in the tree", "it is refused whole")
        kinds = self._run("apply", "--summary", "-", stdin=_bytes(diff))
        found = re.search(r"^ (?:create mode|mode change \d+ =>) (?:120000|160000).*$", kinds, re.MULTILINE)
        if found:
            raise VerificationFailed(
                f"the change makes a link or a submodule ({found.group().strip()})", "it is refused whole"
            )
        return [_bytes(name) for name in names if name]

    def _push(self, refspec: str, over: str | None) -> None:
        """Push by force, but over `over` alone where it is given (a `+` would undo that)."""
        if over is None:
            self._run_push(f"+{refspec}")
        else:
            self._run_push(refspec, f"--force-with-lease={refspec.partition(':')[2]}:{over and checked_commit(over)}")

    def _run_push(self, refspec: str, *options: str) -> None:
        try:
            self._run("push", "--quiet", "--no-verify", *options, "--", self._url, refspec)
        except NotFound as error:  # the repository was there when it was mirrored
            raise Unavailable(error.message, error.hint) from error

    def _head(self) -> str:
        return self._run("rev-parse", "HEAD")

    def _signed(self, *words: str, stdin: bytes = b"", at: datetime | None = None) -> None:
        name, address = self._settings.author_name, self._settings.author_email
        identity = {f"GIT_{role}_NAME": name for role in ("AUTHOR", "COMMITTER")}
        identity |= {f"GIT_{role}_EMAIL": address for role in ("AUTHOR", "COMMITTER")}
        if at is not None:
            identity |= {f"GIT_{role}_DATE": f"@{int(at.timestamp())} +0000" for role in ("AUTHOR", "COMMITTER")}
        self._git(self.tree, *words, stdin=stdin, env={**self._there, **identity})

    def _run(self, *words: str, stdin: bytes = b"") -> str:
        return self._git(self.tree, *words, stdin=stdin, env=self._there)


def _bytes(text: str) -> bytes:
    """UTF-8; bytes that were no UTF-8 when read come out as they were, halves of characters as question marks."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def with_trailers(message: str, trailers: Sequence[tuple[str, str]]) -> str:
    """The message with its trailers in a paragraph of their own. A line of the message that looks like one of our
    trailers is indented, so that a report's words can never be read as a trailer."""
    clean = message.replace("\0", " ").replace("\r\n", "\n").replace("\r", "\n").strip() or "Change"
    body = OURS.sub(r" \1\2:", clean)
    lines = [f"{key}: {' '.join(value.replace(chr(0), ' ').split())}" for key, value in trailers]
    return "\n".join([body, "", *lines, ""]) if lines else f"{body}\n"
