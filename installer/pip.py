"""Calls of pip: every file by hash, from the wheelhouse when it is filled, else from the configured index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from installer.checkout import Checkout, pins
from installer.errors import InstallError
from installer.terminal import Progress, Terminal, run


def environment(offline: bool, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment pip gets. Offline it sees no configuration of the machine's, so it can reach no index."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in {"PIP_USER", "PIP_TARGET", "PYTHONHOME", "PYTHONPATH"}
    }
    if offline:
        kept = {name: value for name, value in kept.items() if not name.startswith("PIP_")}
        kept["PIP_CONFIG_FILE"] = os.devnull
    kept["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return kept


def sources(checkout: Checkout) -> list[str]:
    """The options that name where files come from."""
    return ["--no-index", "--find-links", str(checkout.wheelhouse)] if checkout.has_packages else []


def install(
    checkout: Checkout, locks: Sequence[str], terminal: Terminal, name: str, python: Path | None = None
) -> None:
    """Install every pin of `locks`. A lock is complete: nothing is resolved. Only wheels: no foreign code runs."""
    files = [word for lock in locks for word in ("-r", str(checkout.lock(lock)))]
    options = ["install", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--progress-bar", "off"]
    run(
        [python or checkout.python, "-m", "pip", *options, *sources(checkout), *files],
        terminal, name, checkout.log,
        progress=counting(sum(len(pins(checkout.lock(lock).read_text("utf-8"))) for lock in locks)),
        env=environment(checkout.has_packages),
        hint=_hint(checkout),
    )  # fmt: skip


def install_file(checkout: Checkout, wheel: Path, terminal: Terminal, name: str) -> None:
    """Install one wheel, whose hash was checked, by its path."""
    options = ["install", "--no-index", "--no-deps", "--force-reinstall"]
    run([checkout.python, "-m", "pip", *options, wheel], terminal, name, checkout.log, env=environment(True))


def install_checkout(checkout: Checkout, terminal: Terminal, name: str) -> None:
    """Install this distribution so that it runs from the checkout; its build back end is there already, pinned."""
    options = ["install", "--no-index", "--no-deps", "--no-build-isolation", "--editable"]
    run([checkout.python, "-m", "pip", *options, checkout.root], terminal, name, checkout.log, env=environment(True))


def download(
    checkout: Checkout, locks: Sequence[str], terminal: Terminal, name: str, folder: Path | None = None
) -> None:
    """Fill the wheelhouse from the configured index with every pin of `locks`, for this Python and platform.

    Another `folder` is filled from the wheelhouse, where that is filled.
    """
    of = sources(checkout) if folder else []
    files = [word for lock in locks for word in ("-r", str(checkout.lock(lock)))]
    options = ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--progress-bar", "off"]
    run(
        [checkout.python, "-m", "pip", *options, *of, "--dest", folder or checkout.wheelhouse, *files],
        terminal, name, checkout.log,
        progress=counting(sum(len(pins(checkout.lock(lock).read_text("utf-8"))) for lock in locks)),
        env=environment(bool(of)),
        hint=f"this needs a package index that pip is configured for; all of its output: {checkout.log}",
    )  # fmt: skip


def check(checkout: Checkout, locks: Sequence[str], folder: Path) -> None:
    """Hold every wheel in `folder` to the hashes of the locks. Raises InstallError."""
    known = {one for lock in locks for pin in pins(checkout.lock(lock).read_text("utf-8")) for one in pin.hashes}
    for wheel in sorted(folder.iterdir()):
        with wheel.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() not in known:
                raise InstallError(f"{wheel} is not what the locks name", f"delete {folder}, then run this again")


def counting(total: int) -> Progress:
    """Progress of pip: it names each requirement once while collecting; installing is the rest."""
    seen = 0

    def share(line: str) -> float | None:
        nonlocal seen
        if line.startswith(("Collecting ", "Requirement already satisfied", "Ignoring ")):
            seen += 1
            return min(0.9, 0.9 * seen / max(1, total))
        return 0.9 if line.startswith("Installing collected packages") else None

    return share


def _hint(checkout: Checkout) -> str:
    if checkout.has_packages:
        return (
            "offline-wheels/ holds wheels, so no index was asked: fill it again with `make wheels` for this Python "
            f"and these locks, or empty it; all of pip's output: {checkout.log}"
        )
    return (
        "fill offline-wheels/ with `make wheels` where an index is reached, or mend pip's configuration; "
        f"all of pip's output: {checkout.log}"
    )
