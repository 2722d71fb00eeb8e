"""A medium's files: held to their digests, copied in chunks that go on after a cut, never leading outside staging."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from installer.bundle import seal
from installer.errors import InstallError, Refused
from installer.trust import manifest as sizes
from installer.trust import payload
from installer.trust.manifest import Manifest
from tests.installer.media import CONTENT, fill, manifest_of


@pytest.fixture
def made(tmp_path: Path) -> Manifest:
    """The manifest of a medium in the folder `m`."""
    return manifest_of(fill(tmp_path / "m", CONTENT))


def test_a_thousand_flipped_bits_of_payload_are_all_refused(tmp_path: Path, made: Manifest) -> None:
    entry = next(one for one in made.files if one.path == "wheels/one.whl")
    file, dice = tmp_path / "m" / entry.path, random.Random(3)
    whole = file.read_bytes()
    for _ in range(1000):
        place = dice.randrange(len(whole))
        file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << dice.randrange(8))]) + whole[place + 1 :])
        with pytest.raises(Refused):
            payload.check(tmp_path / "m", entry)
    with pytest.raises(Refused):
        payload.stage(tmp_path / "m", entry, tmp_path / "staging")
    assert [one for one in (tmp_path / "staging").rglob("*") if one.is_file()] == []


def _sparse(file: Path) -> None:
    os.truncate(file, 1 << 40)


SPOIL: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "shorter": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "sparse": _sparse,
    "symbolic link": lambda file: (file.rename(file.parent.parent / "moved"), file.symlink_to("../moved")),
    "link to outside": lambda file: (file.unlink(), file.symlink_to("/etc/passwd")),
    "linked folder": lambda file: (file.parent.rename(file.parents[2] / "x"), file.parent.symlink_to("../x")),
    "hard link": lambda file: os.link(file, file.parent.parent.parent / "second-name"),
    "pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "folder": lambda file: (file.unlink(), file.mkdir()),
    "extra file": lambda file: (file.parent / "extra.whl").write_bytes(b"x"),
    "extra metadata": lambda file: fill(file.parents[1], {"metadata/other.json": b"x"}),
    "extra link": lambda file: (file.parents[1] / "first").symlink_to("/etc"),
}


@pytest.mark.parametrize("how", SPOIL)
def test_a_medium_that_is_not_as_listed_is_refused(how: str, tmp_path: Path, made: Manifest) -> None:
    payload.listed(tmp_path / "m", made)
    SPOIL[how](tmp_path / "m" / "wheels" / "one.whl")
    with pytest.raises(Refused):
        payload.listed(tmp_path / "m", made)
    entry = next(one for one in made.files if one.path == "wheels/one.whl")
    if not how.startswith("extra") and how != "linked folder":
        with pytest.raises(Refused):
            payload.stage(tmp_path / "m", entry, tmp_path / "staging")
    assert {one.name for one in tmp_path.iterdir()} <= {"m", "staging", "second-name", "x"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a device")
def test_a_device_is_refused_without_being_opened(tmp_path: Path, made: Manifest) -> None:
    (tmp_path / "m" / "z").unlink()
    try:
        os.mknod(tmp_path / "m" / "z", 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no device can be made here")
    with pytest.raises(Refused, match="no plain file"):
        payload.listed(tmp_path / "m", made)


def test_staging_keeps_what_holds_and_mends_what_was_cut_short(tmp_path: Path, made: Manifest) -> None:
    for entry in made.files:
        payload.stage(tmp_path / "m", entry, tmp_path / "s")
    (tmp_path / "s" / "wheels" / "one.whl").write_bytes(b"cut")
    (tmp_path / "s" / "wheels" / "two.whl").write_bytes(b"owt")
    for entry in made.files:
        payload.stage(tmp_path / "m", entry, tmp_path / "s")
    payload.listed(tmp_path / "s", made)
    assert {name: (tmp_path / "s" / name).read_bytes() for name in CONTENT} == CONTENT
    shutil.rmtree(tmp_path / "m")
    for entry in made.files:  # all of it holds: the medium is not needed again
        payload.stage(tmp_path / "m", entry, tmp_path / "s")


BIG = random.Random(5).randbytes(12_345)


class TestLargeFiles:
    """With chunks of 1,000 bytes instead of 64 MiB, and parts of 5,000 instead of nearly 4 GiB."""

    @pytest.fixture
    def large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
        for module in (sizes, payload, seal):
            monkeypatch.setattr(module, "CHUNK", 1000)
        for module in (sizes, seal):
            monkeypatch.setattr(module, "PART", 5000)
        fill(tmp_path, {"big": BIG, "m/middle": BIG[:4500], "m/small": b"x"})
        joined = seal.bring(tmp_path / "big", tmp_path / "m", "models/big.gguf")
        assert joined is not None
        return manifest_of(tmp_path / "m", joined=(joined,))

    def test_a_file_too_large_for_the_medium_lies_there_in_parts_and_is_joined(
        self, tmp_path: Path, large: Manifest
    ) -> None:
        assert [entry.path for entry in large.below("models")] == [f"models/big.gguf.part-00{n}" for n in (1, 2, 3)]
        payload.listed(tmp_path / "m", large)
        (file,) = large.joined
        made = payload.join(tmp_path / "m", file, large, tmp_path / "s" / "big.gguf")
        assert made.read_bytes() == BIG and file.path == "models/big.gguf"
        middle = next(entry for entry in large.files if entry.path == "middle")
        assert payload.stage(tmp_path / "m", middle, tmp_path / "s").read_bytes() == BIG[:4500]

    @pytest.mark.parametrize("cut", [0, 1, 999, 1000, 1001, 6500, 12_344])
    def test_a_copy_that_was_cut_short_goes_on_behind_the_last_chunk_that_holds(
        self, cut: int, tmp_path: Path, large: Manifest
    ) -> None:
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "big.gguf.part").write_bytes(BIG[:cut] + b"torn by a power cut")
        for part in large.joined[0].parts[: cut // 5000]:  # what was copied whole is not read from the medium again
            (tmp_path / "m" / part).unlink()
        made = payload.join(tmp_path / "m", large.joined[0], large, tmp_path / "s" / "big.gguf")
        assert made.read_bytes() == BIG

    def test_of_a_medium_that_fails_in_the_middle_the_good_chunks_stay(self, tmp_path: Path, large: Manifest) -> None:
        second = tmp_path / "m" / large.joined[0].parts[1]
        whole = second.read_bytes()
        second.write_bytes(whole[:2500] + bytes([whole[2500] ^ 1]) + whole[2501:])
        with pytest.raises(Refused, match="not what was signed"):
            payload.join(tmp_path / "m", large.joined[0], large, tmp_path / "s" / "big.gguf")
        assert (tmp_path / "s" / "big.gguf.part").read_bytes() == BIG[:7000]
        assert not (tmp_path / "s" / "big.gguf").exists()

    def test_parts_in_another_order_are_refused(self, tmp_path: Path, large: Manifest) -> None:
        one, two = (tmp_path / "m" / part for part in large.joined[0].parts[:2])
        swap = one.rename(tmp_path / "swap")
        two.rename(one)
        swap.rename(two)
        with pytest.raises(Refused):
            payload.join(tmp_path / "m", large.joined[0], large, tmp_path / "s" / "big.gguf")
        assert not any(file.is_file() for file in (tmp_path / "s").rglob("*"))


def test_a_full_disk_is_said_and_leaves_no_file_of_that_name(
    tmp_path: Path, made: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InstallError, match="No space left"):
        payload.stage(tmp_path / "m", made.files[1], tmp_path / "s")
    assert not any(file.is_file() for file in (tmp_path / "s").rglob("*"))
