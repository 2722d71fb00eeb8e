"""Patches: commits as mails that `git am` takes, for where no bundle may go."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.errors import NotFound
from appliance.mirror.address import checked_commit
from appliance.mirror.git import Git

BEGINS = re.compile(rb"From [0-9a-f]{40} Mon Sep 17 00:00:00 2001\n")
"""As `git format-patch` begins."""
BASE = re.compile(rb"^base-commit: ([0-9a-f]{40})$", re.MULTILINE)


def series(git: Git, git_dir: Path, base: str, commit: str) -> bytes:
    """The commits after `base` up to `commit`, merges left out, each as a mail. One of them tells of the base, so that
    the other side knows where they fit. Raises NotFound when there are none."""
    there = {"GIT_DIR": str(git_dir)}
    within = f"{checked_commit(base)}..{checked_commit(commit)}"
    merges = git(git_dir, "rev-list", "--count", "--min-parents=2", within, "--", env=there)
    told = (f"--base={base}",) if merges == "0" else ()  # git knows of no base across a merge
    made = git.raw(git_dir, "format-patch", "--stdout", "--no-signature", "--binary", *told, within, "--", env=there)
    if not made:
        raise NotFound(f"there is no commit between {base[:12]} and {commit[:12]}", "give the older one first")
    return made


def is_series(file: Path) -> bool:
    """Does it begin as `git format-patch` begins?"""
    with file.open("rb") as content:
        return BEGINS.match(content.read(80)) is not None


def base_of(made: bytes) -> str:
    """The commit that a series says it fits on; "" when it does not say."""
    found = BASE.search(made)
    return found[1].decode("ascii") if found else ""
