"""The papers of a bundle: release notes, the bill of materials (CycloneDX 1.6), and the licences of all it brings."""

from __future__ import annotations

import re
import shutil
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from installer import environment
from installer.checkout import Checkout
from installer.terminal import Terminal, run

LICENCE_FILE = re.compile(r"\.dist-info/(?:.*/)?(?:licen[cs]e|copying|notice|authors)[^/]*$", re.IGNORECASE)


def write(checkout: Checkout, tree: Path, folder: Path, terminal: Terminal) -> None:
    """Write the papers of the wheels that lie in `folder`/wheels. Raises InstallError."""
    shutil.copyfile(tree / "CHANGELOG.md", folder / "release-notes.md")
    shutil.copyfile(tree / "LICENSE", folder / "LICENSE")
    (folder / "licences.txt").write_text(licences(folder / "wheels"), "utf-8")
    python = environment.make(checkout, "bundle", terminal) / "bin" / "python"
    run(
        [python, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--spec-version", "1.6",
         "--output-format", "JSON", "--output-file", folder / "sbom.json", folder / "wheels" / "requirements.txt"],
        terminal, "bill of materials", checkout.log, cwd=folder,
    )  # fmt: skip


def licences(wheels: Path) -> str:
    """Name, version, declared licence and licence texts of every wheel, in order of their names."""
    parts = []
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            names = sorted(archive.namelist())
            said = next(name for name in names if name.endswith(".dist-info/METADATA"))
            head = HeaderParser().parsestr(archive.read(said).decode("utf-8", "replace"))
            texts = [archive.read(name).decode("utf-8", "replace") for name in names if LICENCE_FILE.search(name)]
        parts.append(f"{head['Name']} {head['Version']}: {declared(head)}\n\n" + "\n".join(texts))
    return f"\n{'=' * 79}\n".join(parts)


def declared(head: Message) -> str:
    """The licence a wheel's metadata names: the expression, else the classifiers, else the first line of its text."""
    if head["License-Expression"]:
        return str(head["License-Expression"])
    classes = [one.rpartition(" :: ")[2] for one in head.get_all("Classifier") or [] if one.startswith("License ::")]
    if classes:
        return ", ".join(sorted(classes))
    lines = str(head["License"] or "").strip().splitlines()
    return lines[0] if lines else "see its text"
