"""A work tree to hand over: one commit, no history, no remote, no way out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from appliance.mirror.address import checked_commit, plain
from appliance.mirror.git import ATTRIBUTES, Git
from appliance.mirror.lfs import Store
from appliance.mirror.lfs_trees import fill
from appliance.mirror.record import tell

NAMED = 3
"""Files of LFS that are named."""
ANONYMOUS = {
    "GIT_AUTHOR_NAME": "-.", "GIT_AUTHOR_EMAIL": "@", "GIT_COMMITTER_NAME": "-.", "GIT_COMMITTER_EMAIL": "@",
    "GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000",
}  # fmt: skip


def export(git: Git, git_dir: Path, commit: str, into: Path, store: Store | None = None) -> Path:
    """Write a commit of `git_dir` into the new folder `into`, whole or not at all, and commit it there anew.

    The new commit has the same tree and another id: no history can be read from it. A link that leads out of the tree
    becomes a file with its target's name, because whoever reads or writes the tree on the host must stay inside.
    Files that Git LFS keeps and `store` has are put in place of their pointers; that others are not is told.
    """
    checked_commit(commit)
    index = into.with_name(f"{into.name}.index")
    into.mkdir()
    try:
        there = {"GIT_DIR": str(git_dir), "GIT_WORK_TREE": str(into), "GIT_INDEX_FILE": str(index)}
        git(into, "read-tree", f"{commit}^{{tree}}", env=there)
        git(into, "checkout-index", "--all", "--force", env=there)
        keep_inside(into)
        own = {"GIT_DIR": str(into / ".git"), "GIT_WORK_TREE": str(into)}
        git(into, "init", "--quiet", "--template=", env={"GIT_DIR": own["GIT_DIR"]})
        exactly(into / ".git")
        git(into, "add", "--all", "--force", env=own)
        git(into, "commit", "--quiet", "--no-verify", "--allow-empty", "-m", "as handed over", env={**own, **ANONYMOUS})
        if store is not None and (pointers := fill(git, store, into)):
            tell(git_dir, commit, _without(commit, pointers))
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise
    finally:
        for left in (index, index.with_name(f"{index.name}.lock")):
            left.unlink(missing_ok=True)
    return into


def _without(commit: str, names: Sequence[bytes]) -> str:
    shown = ", ".join(plain(name.decode(errors="replace")) for name in names[:NAMED])
    more = ", …" if len(names) > NAMED else ""
    return (
        f"the tree of {commit[:12]} was used with pointers instead of {len(names)} of its files of Git LFS, which are "
        f"not kept here: {shown}{more} (those of the branch's newest commit are fetched, "
        "older ones stay while mirror.lfs_max_mb has room)"
    )


def exactly(git_dir: Path) -> None:
    """Let files come out of and go into this repository byte by byte, whatever its own attributes ask for."""
    (git_dir / "info").mkdir(exist_ok=True)
    (git_dir / "info" / "attributes").write_text(ATTRIBUTES, encoding="utf-8")


def keep_inside(tree: Path) -> None:
    """Turn links that lead out of the tree, into git's own folder or in circles into plain files."""
    root = tree.resolve()
    for path in [path for path in sorted(tree.rglob("*")) if path.is_symlink()]:
        if not _stays(path, root):
            target = str(path.readlink())
            path.unlink()
            path.write_text(target, encoding="utf-8", errors="surrogateescape")


def _stays(link: Path, root: Path) -> bool:
    try:
        end = link.resolve()
        link.stat()
    except FileNotFoundError:
        pass  # it leads nowhere yet, but inside
    except (RuntimeError, OSError):  # it leads in circles, or its target's name is too long
        return False
    return end.is_relative_to(root) and not end.is_relative_to(root / ".git") and not link.readlink().is_absolute()
