"""How the box finds its own commits again: by the trailers that appliance/line/ship.py and monitor.py give them."""

from __future__ import annotations

from pathlib import Path

from appliance.mirror.git import Git

LANDED, REVERTED = "Factory-Item", "Factory-Revert-Of"


def newest(git: Git, bare: Path, head: str, item: str) -> tuple[str, str]:
    """Which trailer the newest commit under `head` that speaks of the item does so with, and the commit; or "", ""."""
    shown = git(
        bare, "log", "--topo-order", "--fixed-strings", f"--grep={LANDED}: {item}", f"--grep={REVERTED}: {item}",
        "--format=%H %(trailers:only,unfold,separator=%x00)", head, "--", env={"GIT_DIR": str(bare)},
    )  # fmt: skip
    for line in shown.split("\n"):
        commit, _, trailers = line.partition(" ")
        for kind in (LANDED, REVERTED):
            if f"{kind}: {item}" in trailers.split("\0"):
                return kind, commit
    return "", ""
