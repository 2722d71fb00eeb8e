"""The medium's program and signatures: equal for equal content; install.sh hands over to nothing unsigned."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from installer.bundle import build, keys, papers
from installer.bundle.build import Commit
from installer.errors import InstallError
from installer.trust import metadata, payload, signature
from installer.trust.medium import trusted
from tests.architecture.tree import ROOT
from tests.installer import media

BUILT = 1_760_000_000


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.ring(tmp_path_factory.mktemp("keys") / "k", 1, 2)


def _llama(folder: Path) -> Path:
    wheel = folder / "llama_cpp_python-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llama_cpp_python-1.dist-info/appliance-build.json", '{"features": ["fma", "avx2"]}')
    return wheel


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ring: Path) -> Path:
    """A medium whose program says what it was told, and one wheel."""
    folder = tmp_path_factory.mktemp("made") / "medium"
    (folder / "wheels").mkdir(parents=True)
    with zipfile.ZipFile(folder / "installer.pyz", "w") as archive:
        archive.writestr("__main__.py", "import sys\nprint('handed over', *sys.argv[1:])\n")
    llama = _llama(folder / "wheels")
    assert build.sealed(folder, Commit(ROOT, BUILT, "1.0.0"), llama, ring) is not None
    return folder


@pytest.fixture
def medium(tmp_path: Path, made: Path) -> Path:
    shutil.copytree(made, tmp_path / "medium")
    return tmp_path / "medium"


def install(medium: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(medium / "install.sh"), *words], capture_output=True, text=True)


def test_a_sealed_medium_says_what_it_is(made: Path, ring: Path) -> None:
    found = trusted(made, keys.fingerprint(ring), None, BUILT).manifest
    assert (found.version, found.built, found.processor) == ("1.0.0", BUILT, ("avx2", "fma"))
    assert [entry.path for entry in found.files][:2] == ["install.sh", "installer.pyz"]
    assert {int(file.stat().st_mtime) for file in made.rglob("*")} == {BUILT}
    payload.listed(made, found)


def test_the_commands_of_the_help_page_check_install_sh_by_hand(medium: Path, ring: Path) -> None:
    page = (ROOT / "control" / "help" / "installing.md").read_text("utf-8")
    (script,) = (part for part in page.split("```")[1::2] if "first/*.pem" in part)
    env = {"PATH": os.environ["PATH"], "FINGERPRINT": keys.fingerprint(ring)}

    def by_hand() -> list[str]:
        said = subprocess.run(["sh"], input=script, cwd=medium, env=env, capture_output=True, text=True)
        return said.stdout.splitlines()

    first, *rest = by_hand()
    assert first.startswith("metadata/1.root.json: ") and first.endswith('"threshold":1')
    assert rest == 2 * ["Signature Verified Successfully"]
    with (medium / "install.sh").open("a") as starter:
        starter.write("echo more\n")
    assert by_hand()[1:] == 2 * ["Signature Verification Failure"]
    lesser = ring / keys.RELEASE  # a key that the root names for something else
    (medium / "first" / "lesser.pem").write_text(metadata.pem(signature.public(lesser)))
    (medium / "first" / "lesser.sig").write_bytes(signature.sign(medium / "install.sh", lesser))
    assert "Signature Verified Successfully" not in by_hand()


def test_install_hands_over_once_the_installer_is_what_was_signed(medium: Path, ring: Path) -> None:
    known = keys.fingerprint(ring)
    said = install(medium, "--fingerprint", known.upper(), "verify", "--prefix", "/x")
    assert said.returncode == 0, said.stderr
    assert said.stdout == f"handed over verify --prefix /x --medium {medium} --fingerprint {known.upper()}\n"


def _flip(name: str) -> Callable[[Path], object]:
    def spoil(medium: Path) -> None:
        raw = bytearray((medium / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (medium / name).write_bytes(raw)

    return spoil


def _linked(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


SPOIL: dict[str, Callable[[Path], object]] = {
    "flipped": _flip("installer.pyz"),
    "missing": lambda medium: (medium / "installer.pyz").unlink(),
    "another program": lambda medium: (medium / "installer.pyz").write_text("print('handed over')"),
    "a link": lambda medium: _linked(medium / "installer.pyz"),
}


@pytest.mark.parametrize("how", SPOIL)
def test_install_starts_no_other_program_than_what_was_signed(how: str, medium: Path, ring: Path) -> None:
    SPOIL[how](medium)
    said = install(medium, "--fingerprint", keys.fingerprint(ring))
    assert said.returncode == 3 and "handed over" not in said.stdout
    assert said.stderr.startswith("error: ") and "hint: " in said.stderr


def test_install_wants_a_fingerprint(medium: Path) -> None:
    assert install(medium).returncode == 2


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, ring: Path) -> Path:
    """A medium with the real installer and one file beside it."""
    folder = tmp_path_factory.mktemp("real") / "medium"
    folder.mkdir()
    (folder / "installer.pyz").write_bytes(build.program(ROOT / "installer", BUILT))
    (folder / "release-notes.md").write_text("new\n", "utf-8")
    build.sealed(folder, Commit(ROOT, BUILT, "1.0.0"), _llama(tmp_path_factory.mktemp("llama")), ring)
    return folder


@pytest.mark.parametrize(
    "name", ["1.root.json", "timestamp.json", "snapshot.json", "targets.json", "release-notes.md", ""]
)
def test_the_real_installer_refuses_a_medium_that_was_changed(
    name: str, real: Path, ring: Path, tmp_path: Path
) -> None:
    shutil.copytree(real, tmp_path / "m")
    if name:
        _flip(name if name.endswith(".md") else f"metadata/{name}")(tmp_path / "m")
    places = ("--prefix", str(tmp_path / "opt"), "--home", str(tmp_path / "home"))
    said = install(tmp_path / "m", "--fingerprint", keys.fingerprint(ring), "verify", *places)
    assert said.returncode == (3 if name else 0), said.stdout + said.stderr
    assert not name or (said.stderr.startswith("error: ") and "hint: " in said.stderr)
    assert {one.name for one in tmp_path.iterdir()} == {"m"}
    other = install(tmp_path / "m", "--fingerprint", "0" * 64, "verify", *places)
    assert other.returncode == 3 and "not the one you typed" in other.stderr


def test_the_program_is_the_same_bytes_whenever_it_is_made_and_runs_alone(tmp_path: Path) -> None:
    one = build.program(ROOT / "installer", BUILT)
    copy = tmp_path / "installer"
    shutil.copytree(ROOT / "installer", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file in copy.rglob("*"):
        os.utime(file, (1, 1))
    assert build.program(copy, BUILT) == one
    (tmp_path / "installer.pyz").write_bytes(one)
    shutil.rmtree(copy)
    words = ["python3", "-I", str(tmp_path / "installer.pyz"), "status", "--prefix", str(tmp_path / "none")]
    said = subprocess.run(words, capture_output=True, text=True)
    assert said.returncode == 0 and "release   none" in said.stdout, said.stderr


def test_a_wheel_that_lacks_a_file_of_the_commit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "page.html").touch()
    with zipfile.ZipFile(tmp_path / "appliance-1-py3-none-any.whl", "w") as archive:
        archive.writestr("control/__init__.py", "")
    with pytest.raises(InstallError, match=r"control/page\.html"):
        build._complete(tmp_path / "appliance-1-py3-none-any.whl", tmp_path)


def test_licences_are_told_by_expression_class_or_text(tmp_path: Path) -> None:
    for name, head in (("a", "License-Expression: MIT"), ("b", "Classifier: License :: OSI Approved :: BSD License"),
                       ("c", "License: Some words"), ("d", "Summary: none")):  # fmt: skip
        with zipfile.ZipFile(tmp_path / f"{name}-1-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{name}-1.dist-info/METADATA", f"Name: {name}\nVersion: 1\n{head}\n")
            archive.writestr(f"{name}-1.dist-info/licenses/LICENSE.txt", f"text of {name}")
    told = papers.licences(tmp_path)
    for line in ("a 1: MIT", "b 1: BSD License", "c 1: Some words", "d 1: see its text", "text of d"):
        assert line in told
