"""A copy that goes on where it stopped, and the import of whole folders on top of it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.errors import Conflict, LimitExceeded, Unavailable, VerificationFailed
from models import copying, importing, registry
from models.copying import JOURNAL, Item, copy, fingerprint, unfinished
from models.importing import import_model
from models.registry import PARTIAL, Registry, quiet, sha256_of
from tests.models.gguf_files import METADATA, assemble, tensor, write_good
from tests.models.tensor_files import write_folder, write_shards
from tests.models.test_examine import write_split


class Cut(BaseException):
    """Stands for the end of a process."""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "CHUNK", 100)


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    for n, size in enumerate((250, 0, 1000)):
        (tmp_path / f"s{n}").write_bytes(os.urandom(size))
    return [Item(tmp_path / f"s{n}", f"t{n}") for n in range(3)]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


def cut_at(limit: int) -> registry.BytesDone:
    def progress(done: int, total: int) -> None:
        if done >= limit:
            raise Cut

    return progress


def assert_same(items: list[Item], target: Path) -> None:
    for item in items:
        assert (target / item.name).read_bytes() == item.source.read_bytes()


@pytest.mark.parametrize("limit", [100, 200, 250, 300, 700, 1250])
def test_a_copy_goes_on_after_the_last_piece_that_was_noted(items: list[Item], target: Path, limit: int) -> None:
    with pytest.raises(Cut):
        copy(items, target, cut_at(limit))
    assert unfinished(target) >= limit
    told: list[int] = []
    done = copy(items, target, lambda at, total: told.append(at))
    assert done.resumed_bytes >= limit and told[-1] == 1250 and told == sorted(told)
    assert_same(items, target)
    assert [part.sha256 for part in done.files] == [sha256_of(item.source) for item in items]


def test_what_was_written_but_not_noted_is_written_anew(items: list[Item], target: Path) -> None:
    with pytest.raises(Cut):
        copy(items, target, cut_at(650))
    with (target / "t2").open("ab") as stream:
        stream.write(b"torn")
    assert copy(items, target, quiet).resumed_bytes == 650
    assert_same(items, target)


@pytest.mark.parametrize("spoil", ["rot", "cut", "journal", "gone"])
def test_a_copy_that_rotted_meanwhile_is_started_anew(items: list[Item], target: Path, spoil: str) -> None:
    with pytest.raises(Cut):
        copy(items, target, cut_at(650))
    raw = bytearray((target / "t2").read_bytes())
    match spoil:
        case "rot":
            raw[5] ^= 1
            (target / "t2").write_bytes(raw)
        case "cut":
            (target / "t2").write_bytes(raw[:50])
        case "journal":
            (target / JOURNAL).write_text('{"t0": [1, 2, 3]}')
        case _:
            (target / "t2").unlink()
    assert copy(items, target, quiet).resumed_bytes == (0 if spoil == "journal" else 250)
    assert_same(items, target)


def test_a_full_disk_and_a_broken_medium_are_told_apart_and_keep_what_is_there(
    items: list[Item], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, kind in ((errno.ENOSPC, LimitExceeded), (errno.EIO, Unavailable)):

        def fail(handle: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(kind) as caught:
            copy(items, target, quiet)
        assert "goes on where it stopped" in caught.value.hint
        monkeypatch.undo()


def test_other_files_have_another_fingerprint(items: list[Item]) -> None:
    before = fingerprint(items)
    assert fingerprint(items) == before
    raw = bytearray(items[2].source.read_bytes())
    raw[0] ^= 1
    stat = items[2].source.stat()
    items[2].source.write_bytes(raw)
    os.utime(items[2].source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint(items) != before
    with pytest.raises(Unavailable):
        fingerprint([Item(Path("/nowhere"), "x")])


def test_a_folder_goes_in_whole_and_is_verified_to_the_last_file(tmp_path: Path) -> None:
    models = Registry(tmp_path / "models")
    done = import_model(write_shards(tmp_path / "Qwen Tiny"), models)
    card = done.card
    assert (card.id, card.format, card.file, card.tasks, card.tools) == ("qwen-tiny", "safetensors", ".", (), "hermes")
    assert models.path(card) == tmp_path / "models" / "qwen-tiny" and models.whole(card)
    assert card.size_bytes == sum(part.size_bytes for part in card.files) and len(card.files) == 8
    listing = "".join(f"{part.sha256}  {part.name}\n" for part in card.files).encode()
    assert subprocess.run(["sha256sum"], input=listing, capture_output=True, check=True).stdout.split()[0].decode() == (
        card.sha256
    )
    assert done.left_out == ("picture.png",) and models.verify(card.id) == card
    assert import_model(tmp_path / "Qwen Tiny", models).outcome == "unchanged"
    assert sorted(p.name for p in models.path(card).iterdir()) == sorted([*(p.name for p in card.files), "card.json"])
    (models.path(card) / "tokenizer.json").write_text("{ }")
    with pytest.raises(VerificationFailed, match=r"tokenizer\.json has"):
        models.verify(card.id)
    assert not models.whole(card)


def test_a_split_model_keeps_the_numbers_engines_look_for(tmp_path: Path) -> None:
    models = Registry(tmp_path / "models")
    card = import_model(write_split(tmp_path / "m") / "big-00002-of-00003.gguf", models).card
    assert (card.id, card.file) == ("big", "model-00001-of-00003.gguf") and models.path(card).is_file()
    assert [part.name for part in card.files] == [f"model-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert models.verify("big")


def test_links_are_followed_to_files_as_a_hub_cache_lays_them_out(tmp_path: Path) -> None:
    blobs = write_folder(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for file in blobs.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    card = import_model(tmp_path / "snapshot", Registry(tmp_path / "models")).card
    assert not any((tmp_path / "models" / "snapshot" / part.name).is_symlink() for part in card.files)


def test_an_import_that_breaks_off_is_kept_and_gone_on_with_from_any_place(tmp_path: Path) -> None:
    models, source = Registry(tmp_path / "models"), write_folder(tmp_path / "m")
    with pytest.raises(Cut):
        import_model(source, models, progress=cut_at(300))
    assert models.list() == () and models.problems() == ()
    (partial,) = models.partials()
    assert unfinished(partial) >= 300
    source.rename(tmp_path / "elsewhere")
    done = import_model(tmp_path / "elsewhere", models, "m")
    assert done.resumed_bytes >= 300 and models.partials() == () and models.verify("m")


def test_a_copy_that_turns_out_unsound_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models, source = Registry(tmp_path / "models"), write_folder(tmp_path / "m")
    monkeypatch.setattr(importing, "_check_space", lambda *_: os.truncate(source / "model.safetensors", 50))
    with pytest.raises(VerificationFailed):
        import_model(source, models)
    assert models.partials() == () and models.list() == ()


def test_what_nobody_goes_on_with_for_a_week_is_removed(tmp_path: Path) -> None:
    models = Registry(tmp_path / "models")
    with pytest.raises(Cut):
        import_model(write_good(tmp_path / "a.gguf"), models, progress=cut_at(100))
    (partial,) = models.partials()
    week = time.time() - 8 * 86_400
    os.utime(partial, (week, week))
    import_model(write_good(tmp_path / "b.gguf", 1), models)
    assert models.partials() == ()


def test_two_imports_of_the_same_files_do_not_write_into_one_another(tmp_path: Path) -> None:
    models, source = Registry(tmp_path / "models"), write_good(tmp_path / "a.gguf")
    found: list[type[BaseException]] = []

    def meanwhile(done: int, total: int) -> None:
        if not found:
            with pytest.raises(Conflict) as caught:
                import_model(source, models)
            found.append(caught.type)

    assert import_model(source, models, progress=meanwhile).outcome == "added" and found


IMPORT = """
import sys
from pathlib import Path
from models import copying
from models.importing import import_model
from models.registry import Registry
copying.CHUNK = 4096
import_model(Path(sys.argv[1]), Registry(Path(sys.argv[2])), progress=lambda done, total: print(done, flush=True))
"""


@pytest.mark.integration
def test_killed_again_and_again_an_import_gets_on_and_ends_whole(tmp_path: Path) -> None:
    models, source = Registry(tmp_path / "models"), tmp_path / "big.gguf"
    source.write_bytes(assemble(METADATA, [tensor("t", (75_008,))], 4 * 75_008))
    reached = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", IMPORT, str(source), str(models.folder)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            told = [int(child.stdout.readline()) for _ in range(8)]
            os.kill(child.pid, signal.SIGKILL)
        assert told[0] >= reached and models.list() == () and models.problems() == ()
        reached = told[-1]
        assert reached > told[0] or reached == source.stat().st_size
    done = import_model(source, models)
    assert done.resumed_bytes >= reached and models.verify(done.card.id) and models.partials() == ()
    assert list(models.folder.glob(f"{PARTIAL}*")) == []


def test_a_journal_is_plain_json(items: list[Item], target: Path) -> None:
    copy(items, target, quiet)
    noted = json.loads((target / JOURNAL).read_text())
    assert noted["t2"] == [1000, sha256_of(items[2].source)] and "t1" not in noted
