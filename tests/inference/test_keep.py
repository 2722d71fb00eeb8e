"""The keeper of a program that starts others, with real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference import keep
from inference.child import Child
from tests.inference.engines_process import lives, until

SERVER = """
import signal, subprocess, sys, time
from multiprocessing import shared_memory
worker = "import sys, time\\nfrom multiprocessing import shared_memory, resource_tracker\\n" \\
    "m = shared_memory.SharedMemory(create=True, size=4096)\\nprint(m.name, flush=True)\\ntime.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE, text=True)
signal.signal(signal.SIGTERM, lambda *_: (child.kill(), child.wait(), sys.exit(7)))
print(child.pid, child.stdout.readline().strip(), flush=True)
time.sleep(600)
"""
"""Starts a worker that holds shared memory, and says who it is and what it holds."""


class Kept:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        worker, name = process.stdout.readline().split()
        self.worker, self.memory = int(worker), Path(keep.SHARED) / name
        (self.server,) = (pid for pid in children(process.pid) if pid != self.worker)

    def end(self) -> int:
        return self.process.wait(20)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in tasks.split()]


@pytest.fixture
def kept() -> Iterator[Kept]:
    argv = [sys.executable, "-I", "-S", keep.__file__, sys.executable, "-c", SERVER]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, process_group=0)
    made = Kept(process)
    yield made
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
    assert process.stdout is not None
    process.stdout.close()
    made.memory.unlink(missing_ok=True)


def test_it_ends_as_its_program_does_when_asked_to(kept: Kept) -> None:
    kept.process.terminate()
    assert kept.end() == 7
    until(lambda: not lives(kept.worker))


def test_a_killed_program_leaves_no_shared_memory(kept: Kept) -> None:
    assert kept.memory.exists()
    os.kill(kept.server, signal.SIGKILL)
    assert kept.end() == -signal.SIGKILL
    assert not kept.memory.exists() and lives(kept.worker), "its user is the supervisor's to end"


def test_at_the_end_of_the_supervisor_the_whole_group_ends(kept: Kept) -> None:
    kept.process.send_signal(keep.END_ALL)
    assert kept.end() == -signal.SIGKILL
    until(lambda: not lives(kept.server) and not lives(kept.worker) and not kept.memory.exists())


def test_a_killed_keeper_leaves_no_shared_memory_to_its_supervisor(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child([sys.executable, "-I", "-S", keep.__file__, sys.executable, "-c", SERVER], None, log)
    worker, name = until(lambda: log.read_text().split() if log.read_text().endswith("\n") else None)
    assert (Path(keep.SHARED) / name).exists()
    os.kill(child.pid, signal.SIGKILL)
    assert until(child.ended) == "killed by SIGKILL"
    until(lambda: not lives(int(worker)) and not (Path(keep.SHARED) / name).exists())


def test_the_program_ends_with_its_keeper(kept: Kept) -> None:
    kept.process.kill()
    until(lambda: not lives(kept.server))


def test_a_program_that_is_not_there_is_named() -> None:
    argv = [sys.executable, "-I", "-S", keep.__file__, "/no/such/program"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "cannot start /no/such/program" in done.stderr
