"""A medium with only what is new: the list stays whole, the target brings the rest, each file still what was signed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from installer.bundle import delta, seal
from installer.errors import InstallError, Refused
from installer.target.media import MEDIUM, apart, installed, sources
from installer.target.places import Places
from installer.trust import payload
from installer.trust.chain import Trusted
from installer.trust.medium import FOLDER
from tests.installer import media
from tests.installer.media import BUILT, fill, manifest_of

OLD = {
    "installer.pyz": b"program",
    "wheels/same.whl": b"same" * 99,
    "wheels/old.whl": b"old",
    "models/m.gguf": b"m" * 50,
}
NEW = {
    "installer.pyz": b"program",
    "wheels/same.whl": b"same" * 99,
    "wheels/new.whl": b"new",
    "models/m.gguf": b"m" * 50,
}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.ring(tmp_path_factory.mktemp("keys") / "k")


@pytest.fixture
def made(tmp_path: Path, ring: Path) -> Trusted:
    """What a box makes of the delta in the folder `new` to the bundle in `old`."""
    media.medium(tmp_path / "old", ring, OLD)
    manifest = manifest_of(fill(tmp_path / "new", NEW), BUILT + 9)
    made = seal.seal(
        tmp_path / "new", delta.lightened(tmp_path / "new", manifest, delta.base_of(tmp_path / "old", ring)), ring
    )
    assert made is not None
    return made


@pytest.fixture
def box(tmp_path: Path, made: Trusted) -> Places:
    """A box with the release of before and the files it came as."""
    places = Places(tmp_path / "opt", tmp_path / "home")
    assert made.manifest.base is not None
    release = places.release(made.manifest.base.release)
    shutil.copytree(tmp_path / "old", release / MEDIUM, ignore=shutil.ignore_patterns("models", FOLDER))
    shutil.copytree(tmp_path / "old" / FOLDER, release / FOLDER)
    return places


def staged(medium: Path, made: Trusted, places: Places, staging: Path) -> dict[str, bytes]:
    payload.listed(medium, made.manifest, apart(made.manifest))
    for entry, folder in sources(medium, made.manifest, places):
        payload.stage(folder, entry, staging)
    return {file.relative_to(staging).as_posix(): file.read_bytes() for file in staging.rglob("*") if file.is_file()}


def test_what_the_box_has_is_left_out_and_comes_from_there(tmp_path: Path, made: Trusted, box: Places) -> None:
    assert made.manifest.absent == {"wheels/same.whl"}
    assert sorted(entry.path for entry in made.manifest.files) == sorted(NEW)
    assert not (tmp_path / "new" / "wheels" / "same.whl").exists()
    payload.listed(tmp_path / "new", made.manifest)
    wanted = {name: content for name, content in NEW.items() if not name.startswith("models/")}
    assert staged(tmp_path / "new", made, box, tmp_path / "staging") == wanted
    shutil.rmtree(box.releases)  # mended from the files it came as, the release needs no other
    assert staged(tmp_path / "staging", made, box, tmp_path / "again") == wanted


def test_a_box_without_that_release_is_told_to_take_the_whole_bundle(
    tmp_path: Path, made: Trusted, box: Places
) -> None:
    shutil.rmtree(box.releases)
    with pytest.raises(Refused, match="only what is new since") as caught:
        staged(tmp_path / "new", made, box, tmp_path / "staging")
    assert "whole bundle" in caught.value.hint and not (tmp_path / "staging").exists()


def test_a_release_of_that_name_with_other_content_is_no_base(
    tmp_path: Path, made: Trusted, box: Places, ring: Path
) -> None:
    assert made.manifest.base is not None
    other = tmp_path / "other"
    media.medium(other, ring, {"installer.pyz": b"another"})
    shutil.copytree(other / FOLDER, box.release(made.manifest.base.release) / FOLDER, dirs_exist_ok=True)
    with pytest.raises(Refused, match="does not have"):
        staged(tmp_path / "new", made, box, tmp_path / "staging")


def test_a_file_that_changed_on_the_box_meanwhile_is_refused(tmp_path: Path, made: Trusted, box: Places) -> None:
    assert made.manifest.base is not None
    kept = box.release(made.manifest.base.release) / MEDIUM / "wheels" / "same.whl"
    kept.write_bytes(b"Same" + kept.read_bytes()[4:])
    with pytest.raises(Refused, match="not what was signed"):
        staged(tmp_path / "new", made, box, tmp_path / "staging")


def test_a_file_that_no_release_has_may_not_be_missing(tmp_path: Path, made: Trusted) -> None:
    (tmp_path / "new" / "wheels" / "new.whl").unlink()
    with pytest.raises(Refused, match="1 listed files are missing"):
        payload.listed(tmp_path / "new", made.manifest)


def test_what_is_not_earlier_or_not_ours_is_no_base(tmp_path: Path, made: Trusted, ring: Path) -> None:
    assert {entry.path for entry in installed(made.manifest)} == set(NEW) - {"models/m.gguf"}
    with pytest.raises(InstallError, match="not earlier"):
        delta.lightened(tmp_path / "new", made.manifest, made)
    media.ring(tmp_path / "others")
    with pytest.raises(Refused, match="fingerprint"):
        delta.base_of(tmp_path / "old", tmp_path / "others")
    media.medium(tmp_path / "import", ring, kind="import")
    with pytest.raises(InstallError, match="brings no release"):
        delta.base_of(tmp_path / "import", ring)
