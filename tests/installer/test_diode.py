"""A one-way link: chunks that come in any order, damaged, twice or not at all; and never a half parcel in its place."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from installer.commands import dispatch
from installer.diode import receiving
from installer.diode.parcel import Item, Parcel, encoded, list_name, numbers, parse, ranges
from installer.diode.receiving import Received, receive, told
from installer.diode.sending import described, export
from installer.errors import InstallError, Refused
from installer.target import commands
from installer.terminal import Terminal
from tests.installer.media import fill
from tests.installer.world import quiet

CHUNK = 1000
CONTENT = {
    "a.json": b"{}", "deep/er/b.bin": random.Random(1).randbytes(4321), "empty": b"", "z ü.txt": b"z" * 1000,
    "deep/run.sh": b"#!/bin/sh\n",
}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = fill(tmp_path / "backup", CONTENT)
    (folder / "deep" / "run.sh").chmod(0o755)
    return folder


@pytest.fixture
def sent(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Parcel, Path]:
    """The parcel, and the folder where it left from: chunks of 1,000 bytes."""
    parcel = _export(source, tmp_path / "out", monkeypatch)
    return parcel, tmp_path / "out"


def _export(source: Path, drop: Path, monkeypatch: pytest.MonkeyPatch, only: str = "") -> Parcel:
    from installer.diode import sending

    small = described(source, CHUNK, quiet())
    monkeypatch.setattr(sending, "described", lambda *_: small)
    return export(source, drop, quiet(), only=only)


def content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def take(drop: Path, target: Path, remove: bool = False) -> Received:
    (found,) = receive(drop, target, quiet(), remove)
    return found


def visible(target: Path) -> list[str]:
    return [one.name for one in target.iterdir() if not one.name.startswith(".")]


def test_a_folder_comes_out_as_it_went_in(sent: tuple[Parcel, Path], tmp_path: Path) -> None:
    parcel, drop = sent
    assert sorted(one.name for one in drop.iterdir())[0] == list_name(parcel.id) and len(parcel.chunks) == 6
    found = take(drop, tmp_path / "in")
    assert found.place == tmp_path / "in" / "backup" and content(found.place) == CONTENT
    assert os.access(found.place / "deep" / "run.sh", os.X_OK) and not os.access(found.place / "a.json", os.X_OK)
    assert take(drop, tmp_path / "in", remove=True).place == found.place  # again: nothing is done, only cleared
    assert list(drop.iterdir()) == [] and [one.name for one in (tmp_path / "in").iterdir() if one.is_dir()] == [
        "backup"
    ]


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK])
def test_a_single_file_travels_as_well(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"model.gguf": random.Random(size).randbytes(size)})
    _export(tmp_path / "model.gguf", tmp_path / "out", monkeypatch)
    found = take(tmp_path / "out", tmp_path / "in")
    assert found.place is not None and found.place.read_bytes() == (tmp_path / "model.gguf").read_bytes()


def test_chunks_may_come_in_any_order_and_over_many_tries(sent: tuple[Parcel, Path], tmp_path: Path) -> None:
    parcel, drop = sent
    arrived = tmp_path / "arrived"
    arrived.mkdir()
    with pytest.raises(InstallError, match="no list came"):
        receive(arrived, tmp_path / "in", quiet())
    shutil.copy(drop / list_name(parcel.id), arrived)
    order = list(range(1, 7))
    random.Random(4).shuffle(order)
    for count, number in enumerate(order):
        found = take(arrived, tmp_path / "in", remove=True)
        assert found.place is None and set(found.lacking) == set(order[count:])
        assert visible(tmp_path / "in") == []
        assert [one.name for one in arrived.iterdir()] == [list_name(parcel.id)]
        shutil.copy(drop / f"{parcel.id}.{number:07d}.chunk", arrived)
    found = take(arrived, tmp_path / "in", remove=True)
    assert found.place is not None and content(found.place) == CONTENT and list(arrived.iterdir()) == []


def test_what_is_missing_or_damaged_is_said_and_sent_again_alone(
    sent: tuple[Parcel, Path], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel, drop = sent
    chunk = [drop / f"{parcel.id}.{number:07d}.chunk" for number in range(7)]
    chunk[2].unlink()
    chunk[3].write_bytes(chunk[3].read_bytes()[:-1])  # still on its way
    chunk[5].write_bytes(bytes([chunk[5].read_bytes()[0] ^ 1]) + chunk[5].read_bytes()[1:])
    found = take(drop, tmp_path / "in")
    assert found.lacking == (2, 3, 5) and found.damaged == (3, 5)
    assert "lacks 3 of 6 chunks, of which 3,5 came damaged" in told(found) and "--only 2-3,5" in told(found)
    assert visible(tmp_path / "in") == []
    _export(source, tmp_path / "again", monkeypatch, only="2-3,5")
    assert len(list((tmp_path / "again").iterdir())) == 4
    found = take(tmp_path / "again", tmp_path / "in")  # another drop folder: what came before is kept
    assert found.place is not None and content(found.place) == CONTENT


@pytest.mark.parametrize("spoil", [
    lambda file: file.write_bytes(file.read_bytes().replace(b"a.json", b"b.json")),
    lambda file: file.write_bytes(file.read_bytes()[:-1]),
    lambda file: file.write_bytes(b""),
    lambda file: (file.rename(file.with_name("x")), file.symlink_to("x")),
    lambda file: (file.unlink(), os.mkfifo(file)),
    lambda file: os.truncate(file, 1 << 40),
])  # fmt: skip
def test_a_list_that_was_damaged_is_none(spoil: object, sent: tuple[Parcel, Path], tmp_path: Path) -> None:
    parcel, drop = sent
    assert callable(spoil)
    spoil(drop / list_name(parcel.id))
    with pytest.raises(Refused) as caught:
        receive(drop, tmp_path / "in", quiet())
    assert "again" in caught.value.hint and visible(tmp_path / "in") == []


@pytest.mark.parametrize("how", ["link", "pipe", "sparse", "swapped"])
def test_chunks_that_are_no_plain_files_of_their_length_do_not_count(
    how: str, sent: tuple[Parcel, Path], tmp_path: Path
) -> None:
    parcel, drop = sent
    one, two = (drop / f"{parcel.id}.{number:07d}.chunk" for number in (1, 2))
    kept = one.rename(tmp_path / "kept")
    {
        "link": lambda: one.symlink_to(kept),
        "pipe": lambda: os.mkfifo(one),
        "sparse": lambda: (one.touch(), os.truncate(one, 1 << 40)),
        "swapped": lambda: shutil.copy(two, one),
    }[how]()
    found = take(drop, tmp_path / "in")
    assert found.lacking == (1,) == found.damaged


@pytest.mark.parametrize("change", [
    {"name": "../out"}, {"name": "a/b"}, {"name": ".."}, {"name": ""},
    {"items": (Item("../out", 5, False),)}, {"items": (Item("/etc/passwd", 5, False),)},
    {"items": (Item("a", 2, False), Item("a/b", 3, False))}, {"items": (Item("a", 2, False), Item("a", 3, False))},
    {"items": (Item("a\nb", 5, False),)}, {"items": (Item("a", -5, False), Item("b", 10, False))},
    {"chunk": 0}, {"chunk": 1 << 40}, {"chunks": ("0" * 64,) * 2}, {"chunks": ("x",)}, {"sha256": "0"},
    {"folder": False},
])  # fmt: skip
def test_a_list_that_no_export_writes_is_refused(change: dict[str, object]) -> None:
    whole = {
        "name": "n",
        "folder": True,
        "items": (Item("a", 5, False),),
        "chunk": 10,
        "sha256": "0" * 64,
        "chunks": ("0" * 64,),
    }
    good, bad = Parcel(**whole), Parcel(**{**whole, **change})  # type: ignore[arg-type]
    assert parse(encoded(good), good.id) == good
    with pytest.raises(Refused):
        parse(encoded(bad), bad.id)


def test_a_kill_at_any_file_operation_loses_no_chunk_and_never_shows_a_half_parcel(
    sent: tuple[Parcel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended at the n-th fsync, sync or rename, for every n; then run again."""
    _, drop = sent
    real = {"fsync": os.fsync, "sync": os.sync}
    rename, left, cuts = Path.rename, [0], 0

    def counted(name: str) -> object:
        def call(*words: object) -> object:
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt
            return real[name](*words)

        return call

    def renamed(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return rename(self, target)

    for cut in range(1, 60):
        target = tmp_path / f"in-{cut}"
        left[0] = cut
        for name in real:
            monkeypatch.setattr(receiving.os, name, counted(name))
        monkeypatch.setattr(Path, "rename", renamed)
        try:
            receive(drop, target, quiet())
            finished = True
        except KeyboardInterrupt:
            finished = False
        monkeypatch.undo()
        if finished:
            break
        cuts += 1
        assert visible(target) in ([], ["backup"]) and all(content(target / one) == CONTENT for one in visible(target))
        assert content(take(drop, target).place or target) == CONTENT
    assert cuts > 12


def test_what_is_there_is_never_replaced(sent: tuple[Parcel, Path], tmp_path: Path) -> None:
    fill(tmp_path / "in" / "backup", {"mine": b"1"})
    with pytest.raises(InstallError, match="is there already"):
        receive(sent[1], tmp_path / "in", quiet())
    assert content(tmp_path / "in" / "backup") == {"mine": b"1"}


def test_one_damaged_parcel_does_not_hold_up_another(sent: tuple[Parcel, Path], tmp_path: Path) -> None:
    _, drop = sent
    (drop / list_name("0" * 32)).write_bytes(b"damaged")
    said = io.StringIO()
    with pytest.raises(Refused, match="damaged on the way"):
        receive(drop, tmp_path / "in", Terminal(said))
    assert content(tmp_path / "in" / "backup") == CONTENT and "0" * 32 in said.getvalue()


@pytest.mark.parametrize("how", ["link", "folder link", "pipe", "name"])
def test_what_cannot_travel_is_said_before_anything_is_written(how: str, source: Path, tmp_path: Path) -> None:
    {
        "link": lambda: (source / "l").symlink_to("a.json"),
        "folder link": lambda: (source / "l").symlink_to("deep"),
        "pipe": lambda: os.mkfifo(source / "p"),
        "name": lambda: (source / "a\nb").touch(),
    }[how]()
    with pytest.raises(InstallError):
        export(source, tmp_path / "out", quiet())
    assert not (tmp_path / "out").exists()


def test_an_export_goes_on_and_a_source_that_changes_is_noticed(
    sent: tuple[Parcel, Path], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel, drop = sent
    chunk = drop / f"{parcel.id}.0000001.chunk"
    before = chunk.stat().st_mtime_ns
    (drop / f"{parcel.id}.0000004.chunk").unlink()
    assert _export(source, drop, monkeypatch) == parcel and chunk.stat().st_mtime_ns == before
    assert (drop / f"{parcel.id}.0000004.chunk").exists()
    (source / "a.json").write_bytes(b"[]")
    with pytest.raises(InstallError, match="changed while"):
        export(source, drop, quiet())


def test_numbers_are_written_as_people_write_them() -> None:
    assert ranges([9, 3, 4, 5]) == "3-5,9" and numbers("3-5,9", 9) == [3, 4, 5, 9] and ranges([]) == ""
    for wrong in ("", "0", "5-3", "1-10", "x", "1,,2", "-1"):
        with pytest.raises(Refused):
            numbers(wrong, 9)


def test_both_programs_have_the_verbs(source: Path, tmp_path: Path) -> None:
    assert dispatch(["export", "--from", str(source), "--drop", str(tmp_path / "drop"), "--chunk", "1"]) == 0
    assert commands.main(["receive", "--drop", str(tmp_path / "drop"), "--to", str(tmp_path / "in")]) == 0
    assert content(tmp_path / "in" / "backup") == CONTENT
    (chunk,) = (tmp_path / "drop").glob("*.chunk")
    chunk.unlink()
    words = [
        sys.executable,
        "-m",
        "installer",
        "receive",
        "--drop",
        str(tmp_path / "drop"),
        "--to",
        str(tmp_path / "other"),
    ]
    said = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert said.returncode == 1 and "lacks 1 of 1 chunks; nothing was put in place" in said.stdout
