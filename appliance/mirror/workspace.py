"""A fresh clone outside the sandbox, where a change becomes a commit (ports.Workspace). Nothing of it is executed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from appliance.config import MirrorSettings
from appliance.errors import Conflict, FactoryError, VerificationFailed
from appliance.mirror.git import Git, checked_branch


class Clone:
    """A clone of the mirror standing at one commit; pushes go to the server."""

    def __init__(
        self, git: Git, settings: MirrorSettings, mirror: Path, url: str, branch: str, commit: str, scratch: Path
    ) -> None:
        self._git = git
        self._settings = settings
        self._url = url
        self._branch = branch
        self.base = commit
        self._folder = Path(tempfile.mkdtemp(prefix="clone-", dir=scratch))
        self.tree = self._folder / "tree"
        try:
            # objects are borrowed from the mirror, which never drops any (gc is off), so this is quick at any size
            git(
                self._folder,
                "clone",
                "--quiet",
                "--shared",
                "--no-checkout",
                "--no-tags",
                "--",
                str(mirror),
                str(self.tree),
            )
            git(self.tree, "checkout", "--quiet", "--detach", commit, "--")
        except BaseException:
            self.close()
            raise

    def apply(self, diff: str) -> None:
        """See ports.Workspace."""
        check_paths(diff)
        try:
            self._git(self.tree, "apply", "--index", "--whitespace=nowarn", "-", stdin=diff.encode())
        except FactoryError as error:
            raise VerificationFailed(
                f"the change does not fit on {self.base[:12]}: {error.message}", error.hint
            ) from error

    def commit(self, message: str, trailers: Sequence[tuple[str, str]]) -> str:
        """See ports.Workspace."""
        self._commit(
            "commit",
            "--quiet",
            "--no-verify",
            "--cleanup=verbatim",
            "-F",
            "-",
            message=with_trailers(message, trailers),
        )
        return self._head()

    def merge_onto(self, head: str, message: str, trailers: Sequence[tuple[str, str]]) -> str:
        """See ports.Workspace."""
        ours = self._head()
        self._git(self.tree, "checkout", "--quiet", "--detach", head, "--")
        text = with_trailers(message, trailers)
        try:
            self._commit("merge", "--quiet", "--no-verify", "--no-ff", "-m", text, ours)
        except FactoryError as error:
            self._git(self.tree, "reset", "--quiet", "--hard", head, "--")
            raise Conflict(f"it does not merge onto {head[:12]}: {error.message}", error.hint) from error
        return self._head()

    def revert(self, commit: str, message: str, trailers: Sequence[tuple[str, str]]) -> str:
        """See ports.Workspace."""
        parents = self._git(self.tree, "rev-list", "--parents", "-n", "1", commit).split()[1:]
        mainline = ("-m", "1") if len(parents) > 1 else ()
        try:
            self._git(self.tree, "revert", "--no-commit", *mainline, commit)
        except FactoryError as error:
            self._git(self.tree, "reset", "--quiet", "--hard", self.base, "--")
            raise Conflict(f"{commit[:12]} cannot be reverted cleanly: {error.message}", "revert it by hand") from error
        return self.commit(message, trailers)

    def export(self, commit: str, into: Path) -> Path:
        """See ports.Workspace."""
        return export(self._git, self.tree, commit, into)

    def push(self, commit: str, branch: str) -> None:
        """See ports.Workspace."""
        self._push(f"{commit}:refs/heads/{checked_branch(branch)}")

    def publish(self, commit: str, branch: str) -> None:
        """See ports.Workspace."""
        self._push(f"+{commit}:refs/heads/{checked_branch(branch)}")

    def delete(self, branch: str) -> None:
        """See ports.Workspace."""
        name = f"refs/heads/{checked_branch(branch)}"
        if self._git(self.tree, "ls-remote", "--", self._url, name):
            self._push(f":{name}")

    def close(self) -> None:
        """See ports.Workspace."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _push(self, refspec: str) -> None:
        self._git(self.tree, "push", "--quiet", "--no-verify", "--", self._url, refspec)

    def _head(self) -> str:
        return self._git(self.tree, "rev-parse", "HEAD")

    def _commit(self, *words: str, message: str = "") -> None:
        name, address = self._settings.author_name, self._settings.author_email
        identity = {f"GIT_{role}_NAME": name for role in ("AUTHOR", "COMMITTER")}
        identity |= {f"GIT_{role}_EMAIL": address for role in ("AUTHOR", "COMMITTER")}
        self._git(self.tree, *words, stdin=message.encode(), env=identity)


def export(git: Git, source: Path, commit: str, into: Path) -> Path:
    """A one-commit work tree in the new folder `into`: no history and no remote, so nothing can be read or sent.

    The commit is made anew on the same tree, so its id differs. A link that leads out of the tree becomes a file with
    its target's name: whoever reads or writes the tree on the host must stay inside.
    """
    into.mkdir()
    index = into.with_name(f"{into.name}.index")
    there = {"GIT_WORK_TREE": str(into), "GIT_INDEX_FILE": str(index)}
    git_dir = source if (source / "HEAD").exists() else source / ".git"
    git(into, f"--git-dir={git_dir}", "read-tree", f"{commit}^{{tree}}", env=there)
    git(into, f"--git-dir={git_dir}", "checkout-index", "--all", "--force", env=there)
    index.unlink()
    keep_inside(into)
    git(into, "init", "--quiet")
    git(into, "add", "--all", "--force")
    git(into, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", "as handed over", env=ANONYMOUS)
    return into


def keep_inside(tree: Path) -> None:
    """Turn links that lead out of the tree into plain files."""
    root = tree.resolve()
    for path in [path for path in sorted(tree.rglob("*")) if path.is_symlink()]:
        if not path.resolve().is_relative_to(root):
            target = str(path.readlink())
            path.unlink()
            path.write_text(target, encoding="utf-8", errors="surrogateescape")


ANONYMOUS = {
    "GIT_AUTHOR_NAME": "-.", "GIT_AUTHOR_EMAIL": "@", "GIT_COMMITTER_NAME": "-.", "GIT_COMMITTER_EMAIL": "@",
    "GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000",
}  # fmt: skip


def with_trailers(message: str, trailers: Sequence[tuple[str, str]]) -> str:
    """The message with its trailers in a paragraph of their own. A line of the message that looks like one of our
    trailers is indented, so that a report's words can never be read as a trailer."""
    body = re.sub(r"^(Factory-[\w-]+|Assisted-by):", r" \1:", message.strip(), flags=re.MULTILINE)
    lines = [f"{key}: {' '.join(value.split())}" for key, value in trailers]
    return "\n".join([body, "", *lines, ""]) if lines else f"{body}\n"


def check_paths(diff: str) -> None:
    """Raises VerificationFailed when a diff names a path outside the tree or inside git's own folder."""
    for line in diff.splitlines():
        found = re.match(r"(?:diff --git|---|\+\+\+|rename (?:from|to)|copy (?:from|to)) (.+)$", line)
        for name in re.split(r"\s(?=[ab]/)", found.group(1)) if found else ():
            parts = name.strip('"').split("/")
            if (
                (name.startswith("/")
                and name.strip() != "/dev/null")
                or ".." in parts
                or any(part.lower() == ".git" for part in parts)
            ):
                raise VerificationFailed(f"the change names {name!r}, which is not in the tree", "it is refused whole")
