"""The medium's program and signatures: equal for equal content; install.sh hands over to nothing unsigned."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from installer.bundle import build, papers
from installer.bundle.build import Commit
from installer.errors import InstallError
from installer.trust import signature
from installer.trust.manifest import parse
from tests.architecture.tree import ROOT

BUILT = 1_760_000_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    signature.make_key(folder / build.PRIVATE, folder / build.PUBLIC)
    return folder


@pytest.fixture
def medium(tmp_path: Path, keys: Path) -> Path:
    """A medium whose program says what it was told, and one wheel."""
    folder = tmp_path / "medium"
    (folder / "wheels").mkdir(parents=True)
    with zipfile.ZipFile(folder / "installer.pyz", "w") as archive:
        archive.writestr("__main__.py", "import sys\nprint('handed over', *sys.argv[1:])\n")
    llama = folder / "wheels" / "llama_cpp_python-1-py3-none-any.whl"
    with zipfile.ZipFile(llama, "w") as archive:
        archive.writestr("llama_cpp_python-1.dist-info/appliance-build.json", '{"features": ["fma", "avx2"]}')
    shutil.copyfile(ROOT / "installer" / "install.sh", folder / "install.sh")
    build.sealed(folder, Commit(tmp_path, BUILT, "1.0.0"), llama, keys / build.PRIVATE, keys / build.PUBLIC)
    return folder


def install(medium: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(medium / "install.sh"), *words], capture_output=True, text=True)


def test_a_sealed_medium_says_what_it_is(medium: Path) -> None:
    made = parse((medium / "manifest.json").read_bytes())
    assert (made.version, made.built, made.processor) == ("1.0.0", BUILT, ("avx2", "fma"))
    assert made.files[0].path == "installer.pyz"
    assert {int(file.stat().st_mtime) for file in medium.rglob("*")} == {BUILT}


def test_install_hands_over_once_key_and_signature_hold(medium: Path, keys: Path) -> None:
    known = signature.fingerprint(keys / build.PUBLIC)
    said = install(medium, "--fingerprint", known.upper(), "verify", "--prefix", "/x")
    assert said.returncode == 0, said.stderr
    assert said.stdout == f"handed over verify --prefix /x --medium {medium} --fingerprint {known}\n"


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
    **{f"{name} flipped": _flip(name) for name in ("manifest.json", "manifest.sig", "key.pem", "installer.pyz")},
    **{f"no {name}": lambda medium, name=name: (medium / name).unlink() for name in ("manifest.json", "installer.pyz")},
    "another program": lambda medium: (medium / "installer.pyz").write_text("print('handed over')"),
    "a link": lambda medium: _linked(medium / "installer.pyz"),
    "empty signature": lambda medium: (medium / "manifest.sig").write_bytes(b""),
}


@pytest.mark.parametrize("how", SPOIL)
def test_install_runs_nothing_from_a_medium_that_was_changed(how: str, medium: Path, keys: Path) -> None:
    SPOIL[how](medium)
    said = install(medium, "--fingerprint", signature.fingerprint(keys / build.PUBLIC))
    assert said.returncode == 3 and "handed over" not in said.stdout
    assert said.stderr.startswith("error: ") and "hint: " in said.stderr


def test_install_wants_a_fingerprint_and_the_right_one(medium: Path) -> None:
    assert install(medium).returncode == 2
    said = install(medium, "--fingerprint", "0" * 64)
    assert said.returncode == 3 and "not with the one you typed" in said.stderr and said.stdout == ""


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
