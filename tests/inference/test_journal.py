"""The file behind the counts: shared by processes, cut by kills, written anew, damaged."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Unavailable
from inference.counts import ENDED, RESERVED
from inference.journal import Alive, Journal, read_counts
from inference.limits import Grant, Limits, Need, decide

LIMITS = Limits(requests_per_minute=70, parallel=5)
SPAWN = multiprocessing.get_context("spawn")


def begin(journal: Journal, worker: str, id: str, limits: Limits = LIMITS) -> bool:
    """Let a call in if the limits allow it."""
    with journal.turn() as counts:
        granted = decide(counts.key("k"), limits, Need(5, 5), time.time())
        if isinstance(granted, Grant):
            journal.append([RESERVED, time.time(), id, "k", "m", worker, 10, 0])
        return isinstance(granted, Grant)


def end(journal: Journal, id: str) -> None:
    with journal.turn():
        journal.append([ENDED, time.time(), id, 3, 4, 50])


def call_often(folder: str, worker: str, pipe: Any) -> None:
    """Forty tries in a row; how many were let in, and the most calls seen under way."""
    journal, let_in, most = Journal(Path(folder)), 0, 0
    for n in range(40):
        if begin(journal, worker, f"{worker}-{n}"):
            let_in += 1
            most = max(most, journal.counts.key("k").open)
            end(journal, f"{worker}-{n}")
        if n % 10 == 9:
            journal.compact(limit=500)
    pipe.send((let_in, most))


def call_for_ever(folder: str, worker: str, pipe: Any) -> None:
    """Calls until killed; tells of each one only when its end is written."""
    journal = Journal(Path(folder))
    for n in range(1_000_000):
        begin(journal, worker, f"{worker}-{n}", Limits())
        end(journal, f"{worker}-{n}")
        pipe.send(n)
        if n % 50 == 49:
            journal.compact(limit=2000)


def test_workers_let_exactly_as_many_in_as_the_limit_says_while_they_write_the_file_anew(tmp_path: Path) -> None:
    pipes = [SPAWN.Pipe() for _ in range(3)]
    workers = [
        SPAWN.Process(target=call_often, args=(str(tmp_path), f"w{n}", theirs)) for n, (_, theirs) in enumerate(pipes)
    ]
    for worker in workers:
        worker.start()
    told = [ours.recv() for ours, _ in pipes]
    for worker in workers:
        worker.join()
    assert sum(let_in for let_in, _ in told) == 70
    count = read_counts(tmp_path).key("k")
    assert (count.total.calls, count.total.tokens, count.open, len(count.window)) == (70, 490, 0, 70)
    assert max(most for _, most in told) <= 3


def test_a_worker_killed_at_any_moment_loses_nothing_it_has_answered_for(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    ours, theirs = SPAWN.Pipe()
    answered, killed = 0, 0
    for n in range(3):
        worker = SPAWN.Process(target=call_for_ever, args=(str(tmp_path), f"w{n}", theirs))
        worker.start()
        last = ours.recv()
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            last = ours.recv()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        while ours.poll():
            last = ours.recv()
        answered, killed = answered + last + 1, killed + 1
        with journal.turn() as counts:
            total = counts.key("k").total
        assert answered <= total.calls <= answered + killed  # at most the one it had no time to tell of
    assert read_counts(tmp_path).snapshot() == journal.counts.snapshot()
    ours.close(), theirs.close()


def test_half_a_record_is_cut_off_and_its_call_was_never_let_in(tmp_path: Path) -> None:
    first, second = Journal(tmp_path), Journal(tmp_path)
    assert begin(first, "w", "a")
    with first.file.open("ab") as out:
        out.write(b'["r",1.0,"b","k","m"')
    assert begin(second, "v", "c")
    assert set(read_counts(tmp_path).open) == {"a", "c"}
    assert begin(first, "w", "d") and set(first.counts.open) == {"a", "c", "d"}


def test_a_damaged_record_is_passed_over_with_a_word_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    begin(journal, "w", "a")
    with journal.file.open("ab") as out:
        out.write(b'\x00\x00\n["r",1]\n["?"]\n{}\n[]\n')
    begin(journal, "w", "b")
    assert set(Journal(tmp_path).counts.open) == set()
    assert set(read_counts(tmp_path).open) == {"a", "b"}
    assert caplog.text.count("cannot be read") == 10


def test_a_file_that_was_removed_is_written_again_by_who_still_knows(tmp_path: Path) -> None:
    first, second = Journal(tmp_path), Journal(tmp_path)
    begin(first, "w", "a")
    with second.turn():
        pass
    first.file.unlink()
    end(second, "a")
    begin(first, "w", "b")
    counts = read_counts(tmp_path)
    assert set(counts.open) == {"b"} and counts.key("k").total.calls == 1
    with second.turn():
        assert first.counts.snapshot() == second.counts.snapshot()


def test_a_new_file_is_small_and_says_the_same(tmp_path: Path) -> None:
    journal, other = Journal(tmp_path), Journal(tmp_path)
    for n in range(60):
        begin(journal, "w", f"a{n}")
        end(journal, f"a{n}")
    begin(journal, "w", "open")
    before, size = journal.counts.snapshot(), journal.file.stat().st_size
    assert not journal.compact(limit=size)
    assert journal.compact(limit=size - 1)
    assert journal.file.stat().st_size < size / 2
    assert read_counts(tmp_path).snapshot() == before
    end(other, "open")
    assert read_counts(tmp_path).open == {}
    assert [file.name for file in tmp_path.iterdir() if "new" in file.name] == []


@contextmanager
def files_no_longer_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_lets_nobody_in_and_leaves_no_half_records(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    begin(journal, "w", "a")
    size = journal.file.stat().st_size
    with files_no_longer_than(size + 20), pytest.raises(Unavailable, match=r"key-counts\.jsonl"):
        begin(journal, "w", "b")
    assert journal.file.stat().st_size == size and set(journal.counts.open) == {"a"}
    assert begin(journal, "w", "c") and set(read_counts(tmp_path).open) == {"a", "c"}


def test_a_lock_that_nobody_gives_back_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.journal.LOCK_SECONDS", 0.05)
    first, second = Journal(tmp_path), Journal(tmp_path)
    with first.turn(), pytest.raises(Unavailable, match="lock"):
        begin(second, "w", "a")
    assert begin(second, "w", "a")


def test_the_calls_of_a_dead_worker_are_ended_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    dead, living, me = (Alive(tmp_path / "run") for _ in range(3))
    begin(journal, dead.name, "a")
    begin(journal, living.name, "b")
    os.close(dead._handle)  # as the kernel does when it dies
    assert me.bury(journal, time.time()) == [dead.name]
    assert set(journal.counts.open) == {"b"}
    assert me.bury(journal, time.time()) == []
    names = {file.name for file in (tmp_path / "run").iterdir()}
    assert names == {f"gateway-worker-{living.name}", f"gateway-worker-{me.name}"}
    living.close()
    assert me.bury(journal, time.time()) == [living.name]


def test_syncing_reaches_the_disk_once_for_all_that_was_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    begin(journal, "w", "a")
    assert journal._unsynced
    journal.sync()
    journal.sync()
    assert not journal._unsynced
    journal.close()
