"""Git LFS in trees and commits: which files are given to it, put in place of their pointers, and taken back.

Nothing of LFS runs here: no filter, no hook. Which files are given to it is what the repository's attributes say.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from appliance.mirror.git import Git
from appliance.mirror.lfs import LARGEST_POINTER, SMALLEST_POINTER, Pointer, Store, on_disk

MARK = b"filter=lfs"
EMPTY = b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
"""The object that holds nothing."""
ATTRIBUTES_READ, LARGEST_READ = 1000, 64 << 10
"""Files of attributes that are looked into at most, and their bytes: a repository must not fill the memory."""


def in_commit(git: Git, bare: Path, commit: str, blobs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, Pointer]:
    """The pointers of a commit by path; `blobs` are all its files (id, path). They are read only where its
    attributes speak of LFS."""
    here = {"GIT_DIR": str(bare)}
    attributes = [oid for oid, name in blobs if name.rpartition(b"/")[2] == b".gitattributes"]
    if not any(MARK in content for content in contents(git, bare, attributes[:ATTRIBUTES_READ])):
        return {}
    small: dict[bytes, bytes] = {}
    for line in git.raw(bare, "ls-tree", "-r", "-l", "-z", "--full-tree", commit, env=here).split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        mode, _, oid, size = head.split()
        if mode.startswith(b"100") and SMALLEST_POINTER <= int(size) <= LARGEST_POINTER:
            small[name] = oid
    found = dict(zip(small, map(Pointer.read, contents(git, bare, small.values())), strict=True))
    pointers = {name: pointer for name, pointer in found.items() if pointer}
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        git(bare, "read-tree", commit, env={**here, "GIT_INDEX_FILE": str(index)})
        return {name: pointers[name] for name in given(git, bare, index, pointers)}


def changed(git: Git, git_dir: Path, index: Path, base: str, commit: str) -> list[Pointer]:
    """The pointers that a commit has and `base` has not. `index` holds the commit."""
    words = ("diff-tree", "-r", "-z", "--no-renames", "--diff-filter=AMT", base, commit, "--")
    fields = git.raw(git_dir, *words, env={"GIT_DIR": str(git_dir)}).split(b"\0")[:-1]
    oids = {name: head.split()[3] for head, name in zip(fields[::2], fields[1::2], strict=True) if b" 100" in head}
    named = given(git, git_dir, index, oids)
    found = (Pointer.read(content) for content in contents(git, git_dir, [oids[name] for name in named]))
    return [pointer for pointer in dict.fromkeys(found) if pointer]


def whole(git: Git, git_dir: Path, index: Path, commits: Sequence[str]) -> list[str]:
    """Paths of files that commits bring whole though the attributes in an index give them to LFS, where there was a
    pointer before or nothing. Empty ones have no pointer."""
    words = ("diff-tree", "--stdin", "-r", "-z", "--root", "--no-renames", "--no-commit-id", "--diff-filter=AMT")
    asked = "".join(f"{commit}\n" for commit in commits).encode()
    fields = git.raw(git_dir, *words, stdin=asked, env={"GIT_DIR": str(git_dir)}).split(b"\0")[:-1]
    rows = [(name, *head.split()[2:4]) for head, name in zip(fields[::2], fields[1::2], strict=True) if b" 100" in head]
    named = set(given(git, git_dir, index, dict.fromkeys(name for name, _, _ in rows)))
    rows = [row for row in rows if row[0] in named and row[2] != EMPTY]
    before = contents(git, git_dir, [old for _, old, _ in rows])
    after = contents(git, git_dir, [new for _, _, new in rows])
    found = [
        name for (name, old, _), was, is_ in zip(rows, before, after, strict=True)
        if not Pointer.read(is_) and (not old.strip(b"0") or Pointer.read(was))
    ]  # fmt: skip
    return [os.fsdecode(name) for name in dict.fromkeys(found)]


def fill(git: Git, store: Store, tree: Path) -> list[bytes]:
    """Put the files that the store has in place of their pointers in a tree with its own `.git`, whose commit keeps the
    pointers and whose index takes the files for unchanged. Returns the paths whose files the store has not."""
    found = dict(_pointers(tree))
    named = given(git, tree / ".git", tree / ".git" / "index", found)
    filled = [name for name in named if store.file(found[name]).exists()]
    for name in filled:
        _replace(tree / os.fsdecode(name), store.file(found[name]))
    if filled:
        own = {"GIT_DIR": str(tree / ".git"), "GIT_WORK_TREE": str(tree)}
        git(tree, "update-index", "--skip-worktree", "-z", "--stdin", stdin=_ended(filled), env=own)
    return sorted(set(named).difference(filled))


def expand(git: Git, store: Store, tree: Path, names: Iterable[bytes]) -> None:
    """Put files in place of their pointers in a work tree and its index, so that a change of these files fits."""
    own = {"GIT_DIR": str(tree / ".git"), "GIT_WORK_TREE": str(tree)}
    there = git.raw(tree, "ls-files", "-s", "-z", env=own).split(b"\0")[:-1]
    plain = {line.partition(b"\t")[2] for line in there if line.startswith(b"100")}
    found: dict[bytes, Pointer] = {}
    for name in plain.intersection(names):
        pointer = _pointer_in(tree / os.fsdecode(name))
        if pointer and store.file(pointer).exists():
            found[name] = pointer
    put = given(git, tree / ".git", tree / ".git" / "index", found)
    for name in put:
        _replace(tree / os.fsdecode(name), store.file(found[name]))
    if put:
        git(tree, "update-index", "-z", "--stdin", stdin=_ended(put), env=own)


def take_back(git: Git, store: Store, tree: Path) -> None:
    """Keep the files that the next commit would bring and that are given to LFS, and leave their pointers instead. They
    are as small as changes are, and make no room for themselves: the next fetch does."""
    own = {"GIT_DIR": str(tree / ".git"), "GIT_WORK_TREE": str(tree)}
    words = ("diff-index", "--cached", "-z", "--no-renames", "--diff-filter=AMT", "HEAD", "--")
    fields = git.raw(tree, *words, env=own).split(b"\0")[:-1]
    names = [name for head, name in zip(fields[::2], fields[1::2], strict=True) if b" 100" in head]
    taken = []
    for name in given(git, tree / ".git", tree / ".git" / "index", names):
        path = tree / os.fsdecode(name)
        if not _pointer_in(path):
            pointer = Pointer.to(path)
            with store.alone():
                if store.lacking([pointer]):
                    store.copy(pointer, path)
            path.write_bytes(pointer.written())
            taken.append(name)
    if taken:
        git(tree, "update-index", "-z", "--stdin", stdin=_ended(taken), env=own)


def given(git: Git, git_dir: Path, index: Path, names: Iterable[bytes]) -> list[bytes]:
    """Those of the paths that the attributes in an index give to LFS. A repository of the box says that no file is
    filtered, which outweighs these attributes: git is asked in an empty one."""
    asked = _ended(names)
    if not asked:
        return []
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare"
        git(Path(folder), "init", "--quiet", "--bare", "--template=", "--", str(bare))
        there = {"GIT_DIR": str(bare), "GIT_WORK_TREE": folder, "GIT_INDEX_FILE": str(index)}
        there["GIT_OBJECT_DIRECTORY"] = str(git_dir / "objects")
        said = git.raw(Path(folder), "check-attr", "--cached", "-z", "--stdin", "filter", stdin=asked, env=there)
    fields = said.split(b"\0")
    return [name for name, value in zip(fields[0::3], fields[2::3], strict=False) if value == b"lfs"]


def contents(git: Git, git_dir: Path, oids: Iterable[bytes]) -> Iterator[bytes]:
    """What objects hold, one by one; what is larger than any pointer or attributes counts as empty, as the missing."""
    asked, here = list(oids), {"GIT_DIR": str(git_dir)}
    if not asked:
        return
    form = "--batch-check=%(objectname) %(objectsize)"
    sizes = [line.split() for line in git.raw(git_dir, "cat-file", form, stdin=_asked(asked), env=here).splitlines()]
    small = [oid for oid, size in sizes if size.isdigit() and int(size) <= LARGEST_READ]
    said = git.raw(git_dir, "cat-file", "--batch", stdin=_asked(small), env=here) if small else b""
    known: dict[bytes, bytes] = {}
    at = 0
    while at < len(said):
        end = said.index(b"\n", at)
        oid, _, size = said[at:end].split()
        known[oid] = said[end + 1 : end + 1 + int(size)]
        at = end + 1 + int(size) + 1
    yield from (known.get(oid, b"") for oid, _ in sizes)


def _pointers(tree: Path) -> Iterator[tuple[bytes, Pointer]]:
    """The files of a tree that look like pointers, by path."""
    for folder, folders, names in os.walk(tree):
        if Path(folder) == tree and ".git" in folders:
            folders.remove(".git")
        for name in names:
            path = Path(folder, name)
            if pointer := _pointer_in(path):
                yield os.fsencode(path.relative_to(tree)), pointer


def _pointer_in(path: Path) -> Pointer | None:
    if path.is_symlink() or not SMALLEST_POINTER <= path.lstat().st_size <= LARGEST_POINTER:
        return None
    return Pointer.read(path.read_bytes())


def _replace(path: Path, file: Path) -> None:
    """Another content for a file that keeps its mode. Raises Unavailable when the disk does not take it."""
    with on_disk("a file of Git LFS cannot be put into the tree"):
        mode = path.lstat().st_mode & 0o777
        path.unlink()
        shutil.copyfile(file, path)
        path.chmod(mode)


def _ended(names: Iterable[bytes]) -> bytes:
    return b"".join(name + b"\0" for name in names)


def _asked(oids: Iterable[bytes]) -> bytes:
    return b"".join(oid + b"\n" for oid in oids)
