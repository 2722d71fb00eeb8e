"""From a medium to a release that can run: copied and checked, then unpacked where it will stay."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from installer import pip
from installer.target import seal
from installer.target.media import MEDIUM, VLLM, apart, sources
from installer.target.places import settle
from installer.target.work import WHOLE, Work, remove
from installer.terminal import run
from installer.trust import payload
from installer.trust.medium import FOLDER as METADATA

COMPILE = """
import compileall, sys
try:
    compileall.compile_dir(sys.argv[1], quiet=2, workers=0)
except OSError:
    compileall.compile_dir(sys.argv[1], quiet=2)
"""
"""On all cores; on one where a machine lets no processes share memory. What cannot be compiled is some tool's template.
Left to pip it takes one core, and left to the first start the box's own user could not keep it."""


def stage(work: Work) -> None:
    """Copy every file of the medium, held to its digest. Raises Refused."""
    medium, manifest = work.carried()
    payload.listed(medium, manifest, apart(manifest))
    staging = work.places.staging
    staging.mkdir(parents=True, exist_ok=True, mode=0o700)
    read, started = 0, time.monotonic()

    def report(count: int) -> None:
        nonlocal read
        read += count
        seconds = time.monotonic() - started
        work.terminal.working("copy and check", seconds, read / max(1, manifest.size), f"{read / 1e6:.0f} MB")

    for entry, folder in sources(medium, manifest, work.places):
        payload.stage(folder, entry, staging, report)
    settle(staging)


def unpack(work: Work) -> None:
    """Make the release where it will stay: a virtual environment cannot be moved. Raises InstallError."""
    medium, manifest = work.carried()
    places, release, staging = work.places, work.release, work.places.staging
    remove(release)
    release.mkdir(parents=True)
    log, name = places.log, "unpack the release"
    python = _filled(work, release / "venv", "wheels", name)
    run([python, "-c", COMPILE, release / "venv" / "lib"], work.terminal, name, log,
        env=pip.environment(True), held=work.held)  # fmt: skip
    if manifest.below(VLLM):
        _filled(work, release / VLLM, VLLM, "unpack vLLM")
    for paper in ("installer.pyz", "sbom.json", "licences.txt", "LICENSE", "release-notes.md"):
        if (staging / paper).exists():
            shutil.copyfile(staging / paper, release / paper)
    shutil.copytree(medium / METADATA, release / METADATA)
    staging.rename(release / MEDIUM)
    seal.write(release)
    os.sync()
    (release / WHOLE).write_text(manifest.release + "\n", "utf-8")
    settle(release)


def _filled(work: Work, folder: Path, wheels: str, name: str) -> Path:
    """An environment of its own with every wheel of a folder of the medium; its Python. Raises InstallError."""
    _, manifest = work.carried()
    python, found, log = folder / "bin" / "python", work.places.staging / wheels, work.places.log
    run([sys.executable, "-m", "venv", folder], work.terminal, name, log, held=work.held)
    options = ["install", "--no-deps", "--no-compile", "--only-binary", ":all:", "--require-hashes"]
    where = ["--progress-bar", "off", "--no-index", "--find-links", str(found), "-r", str(found / "requirements.txt")]
    run(
        [python, "-m", "pip", *options, *where], work.terminal, name, log,
        progress=pip.counting(len(manifest.below(wheels)) - 1), env=pip.environment(True), held=work.held,
    )  # fmt: skip
    return python
