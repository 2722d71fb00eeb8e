"""What may be installed: signed, whole, newer; everything else is refused and leaves nothing outside staging."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from installer.errors import InstallError, Refused
from installer.trust import payload, signature
from installer.trust.manifest import Accepted, Entry, decide, digest, encoded, parse
from tests.installer.media import CONTENT, manifest_of, medium

WHO = "ab" * 32
MADE = manifest_of(CONTENT)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    signature.make_key(folder / "release.key", folder / "release.pem")
    return folder / "release.key", folder / "release.pem"


def test_a_manifest_reads_as_it_was_written() -> None:
    assert parse(encoded(MADE)) == MADE


def test_every_byte_of_the_manifest_that_changes_is_refused_or_another_manifest() -> None:
    """The signature is over these bytes; what is left to show is that no two spellings mean the same."""
    raw = encoded(MADE)
    for place in range(len(raw)):
        for bit in (1, 32, 128):
            spoilt = raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]
            with contextlib.suppress(Refused):
                assert parse(spoilt) != MADE


def test_every_byte_of_the_signed_manifest_is_held_by_the_signature(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    medium(tmp_path, *keys)
    raw, mark = (tmp_path / "manifest.json").read_bytes(), (tmp_path / "manifest.sig").read_bytes()
    signature.verify(raw, mark, keys[1], "the manifest")
    dice = random.Random(7)  # a process of OpenSSL each: some of the manifest's bytes, all of the signature's ends
    for place in dice.sample(range(len(raw)), 20):
        with pytest.raises(Refused, match="does not hold"):
            signature.verify(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :], mark, keys[1], "the manifest")
    for spoilt in (mark[:-1], mark[1:], b"", mark + b"x", bytes(64), bytes([mark[0] ^ 1]) + mark[1:]):
        with pytest.raises(Refused, match="does not hold"):
            signature.verify(raw, spoilt, keys[1], "the manifest")


def test_a_foreign_key_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    medium(tmp_path, *keys)
    signature.make_key(tmp_path / "k" / "other.key", tmp_path / "k" / "other.pem")
    raw, mark = (tmp_path / "manifest.json").read_bytes(), (tmp_path / "manifest.sig").read_bytes()
    with pytest.raises(Refused):
        signature.verify(raw, mark, tmp_path / "k" / "other.pem", "the manifest")
    assert not signature.same(signature.fingerprint(keys[1]), signature.fingerprint(tmp_path / "k" / "other.pem"))


def test_a_fingerprint_may_be_typed_with_spaces_colons_and_capitals() -> None:
    assert signature.same("AB AB:" + "ab" * 30, WHO) and not signature.same("ab" * 31, WHO)
    assert not signature.same("", WHO)


def test_a_key_is_private_and_never_replaced(tmp_path: Path) -> None:
    signature.make_key(tmp_path / "a.key", tmp_path / "a.pem")
    before = (tmp_path / "a.key").read_bytes()
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InstallError, match="there already"):
        signature.make_key(tmp_path / "a.key", tmp_path / "a.pem")
    assert (tmp_path / "a.key").read_bytes() == before


@pytest.mark.parametrize("path", [
    "../out", "/etc/passwd", "a/../../b", "a//b", "", ".", "a/.", ".hidden", "a\\b", "a\0b", "ä", "a/", "-rf",
    "x" * 300,
])  # fmt: skip
def test_a_path_that_could_lead_outside_is_refused(path: str) -> None:
    with pytest.raises(Refused, match=r"path|order"):
        parse(encoded(replace(MADE, files=(Entry(path, "0" * 64, 1),))))


@pytest.mark.parametrize("files", [
    (Entry("b", "0" * 64, 1), Entry("a", "0" * 64, 1)),
    (Entry("a", "0" * 64, 1), Entry("a", "0" * 64, 1)),
    (Entry("A", "0" * 64, 1), Entry("a", "0" * 64, 1)),
    (Entry("a", "0" * 63, 1),),
    (Entry("a", "0" * 64, -1),),
    (Entry("a", "0" * 64, 4 << 30),),
    (Entry("a", "0" * 64, True),),
])  # fmt: skip
def test_a_list_no_build_writes_is_refused(files: tuple[Entry, ...]) -> None:
    with pytest.raises(Refused):
        parse(encoded(replace(MADE, files=files)))


@pytest.mark.parametrize("raw", [
    b"", b"{}", b"[]", b"null", b"{" * 100_000, b"[" * 100_000, b"\xff" * 9, b'{"format":1}\n',
])  # fmt: skip
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused):
        parse(raw)


def test_downgrade_replay_mix_and_another_key_are_refused_whatever_the_clock_says() -> None:
    raw = encoded(MADE)
    last = Accepted(WHO, MADE.built, digest(raw))
    for now in (0.0, 1.7e9, 4e9):
        assert decide(MADE, raw, WHO, None, now).kind == "install"
        assert decide(MADE, raw, WHO, last, now).kind == "same"
        assert decide(MADE, raw, WHO, replace(last, built=MADE.built - 1), now).kind == "upgrade"
        assert decide(MADE, raw, WHO, replace(last, built=MADE.built + 1), now).kind == "refused"
        assert decide(MADE, raw, WHO, replace(last, digest="0" * 64), now).kind == "refused"
        assert decide(MADE, raw, WHO, replace(last, fingerprint="cd" * 32), now).kind == "refused"
    assert "clock" in decide(MADE, raw, WHO, None, 0.0).warning and not decide(MADE, raw, WHO, None, 4e9).warning


def test_a_thousand_flipped_bits_of_payload_are_all_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    made = medium(tmp_path / "m", *keys)
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
    with file.open("wb") as stream:
        stream.truncate(1 << 40)


SPOIL: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "shorter": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "sparse": _sparse,
    "symbolic link": lambda file: (file.rename(file.parent.parent / "moved"), file.symlink_to("../moved")),
    "link to outside": lambda file: (file.unlink(), file.symlink_to("/etc/passwd")),
    "hard link": lambda file: os.link(file, file.parent.parent.parent / "second-name"),
    "pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "folder": lambda file: (file.unlink(), file.mkdir()),
    "extra file": lambda file: (file.parent / "extra.whl").write_bytes(b"x"),
}


@pytest.mark.parametrize("how", SPOIL)
def test_a_medium_that_is_not_as_listed_is_refused(how: str, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    made = medium(tmp_path / "m", *keys)
    payload.listed(tmp_path / "m", made)
    SPOIL[how](tmp_path / "m" / "wheels" / "one.whl")
    with pytest.raises(Refused):
        payload.listed(tmp_path / "m", made)
    entry = next(one for one in made.files if one.path == "wheels/one.whl")
    if how != "extra file":
        with pytest.raises(Refused):
            payload.stage(tmp_path / "m", entry, tmp_path / "staging")
    assert {one.name for one in tmp_path.iterdir()} <= {"m", "staging", "second-name"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a device")
def test_a_device_is_refused_without_being_opened(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    made = medium(tmp_path / "m", *keys)
    (tmp_path / "m" / "z").unlink()
    try:
        os.mknod(tmp_path / "m" / "z", 0o20666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no device can be made here")
    with pytest.raises(Refused, match="no plain file"):
        payload.listed(tmp_path / "m", made)


def test_staging_keeps_what_holds_and_mends_what_was_cut_short(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    made = medium(tmp_path / "m", *keys)
    for entry in made.files:
        payload.stage(tmp_path / "m", entry, tmp_path / "s")
    (tmp_path / "s" / "wheels" / "one.whl").write_bytes(b"cut")
    (tmp_path / "s" / "wheels" / "two.whl").write_bytes(b"owt")
    seen: list[int] = []
    for entry in made.files:
        payload.stage(tmp_path / "m", entry, tmp_path / "s", seen.append)
    payload.listed(tmp_path / "s", made)
    assert {name: (tmp_path / "s" / name).read_bytes() for name in CONTENT} == CONTENT
    shutil.rmtree(tmp_path / "m")
    for entry in made.files:  # all of it holds: the medium is not needed again
        payload.stage(tmp_path / "m", entry, tmp_path / "s")


def test_refusals_tell_what_to_do() -> None:
    with pytest.raises(Refused) as caught:
        parse(b"{}")
    assert caught.value.hint and re.search("format 1", caught.value.message)
