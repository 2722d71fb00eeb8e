"""Documents say what is so: targets and paths exist, every room tells in one screen what it is for."""

from __future__ import annotations

import re
import subprocess

import pytest

import appliance
from tests.architecture.tree import ROOT

FOLDERS = ("appliance", "inference", "models", "control", "installer", "offline-wheels", "tests")
SCREEN = 60
"""Lines of a generous terminal."""


def targets() -> dict[str, str]:
    """Each make target that help lists, with its line."""
    return dict(re.findall(r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", *(f"{folder}/README.md" for folder in FOLDERS)])
def test_every_make_target_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text("utf-8")
    blocks = "\n".join(re.findall(r"```[^\n]*\n(.*?)```", text, re.DOTALL))
    named = set(re.findall(r"`make (?:[A-Z]+=\S+ )*([a-z-]+)", text))
    named |= set(re.findall(r"^make (?:[A-Z]+=\S+ )*([a-z-]+)", blocks, re.MULTILINE))
    assert named <= set(targets()), f"{document} names {named - set(targets())}"


@pytest.mark.parametrize("target", sorted(targets()))
def test_make_knows_how_to_reach_every_target_it_lists(target: str) -> None:
    said = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0 and said.stdout, said.stderr


def test_the_readme_opens_with_run_and_test() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert "make run" in text and "make test" in text


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_room_has_a_readme_of_one_screen(folder: str) -> None:
    lines = (ROOT / folder / "README.md").read_text("utf-8").splitlines()
    assert lines[0].startswith("# ") and len(lines) <= SCREEN


def test_the_readme_names_every_room() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert [folder for folder in FOLDERS if f"`{folder}/`" not in text] == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", *(f"{folder}/README.md" for folder in FOLDERS)])
def test_every_path_a_document_links_to_exists(document: str) -> None:
    place = ROOT / document
    links = re.findall(r"\]\(([^)#:]+)\)", place.read_text("utf-8"))
    assert [link for link in links if not (place.parent / link).exists()] == []


def test_the_changelog_tells_this_version_or_what_is_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{appliance.__version__}]" in text or "## [Unreleased]" in text


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
