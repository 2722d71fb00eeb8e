"""A long-lived process in the sandbox: lines in, lines out, limits, and its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from appliance.computers.sandbox import BoxedSandbox
from appliance.computers.session import PipeSession
from appliance.errors import LimitExceeded, Unavailable
from appliance.ports import Limits
from tests.e2e.world import until

pytestmark = pytest.mark.integration
Tree = Callable[..., Path]
SMALL = Limits(seconds=20, cpu_seconds=5, memory_mb=256, processes=32, disk_mb=32, output_kb=64)
ECHO = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"


def opened(box: BoxedSandbox, tree: Path, code: str, limits: Limits = SMALL) -> PipeSession:
    return box.open([box.python, "-c", code], tree=tree, limits=limits)


def running(word: str) -> list[int]:
    return [one.pid for one in psutil.process_iter(["cmdline"]) if word in " ".join(one.info["cmdline"] or ())]


def test_a_session_outlives_the_thread_that_opened_it(box: BoxedSandbox, tree: Tree) -> None:
    sessions: list[PipeSession] = []
    thread = threading.Thread(target=lambda: sessions.append(opened(box, tree(), ECHO)))
    thread.start()
    thread.join()
    with sessions[0] as session:
        session.send(b"still here")
        assert session.receive(10) == b"STILL HERE"


@pytest.mark.parametrize(
    ("limit", "code"),
    [("time", "import time; time.sleep(60)"), ("memory", "x = []\nwhile True: x.append(bytearray(1 << 20))")],
)
def test_a_session_that_reaches_a_limit_says_which(box: BoxedSandbox, tree: Tree, limit: str, code: str) -> None:
    session = opened(box, tree(), code, SMALL.with_(seconds=2) if limit == "time" else SMALL)
    with pytest.raises(Unavailable, match=f"limit reached: {limit}|MemoryError"):
        session.receive(20)
    session.close()


def test_a_line_without_end_closes_the_session(box: BoxedSandbox, tree: Tree) -> None:
    session = opened(box, tree(), "import sys\nwhile True: sys.stdout.write('x' * 1000)")
    with pytest.raises(LimitExceeded, match="64 KiB"):
        while True:
            session.receive(10)
    with pytest.raises(Unavailable):
        session.send(b"x")


def test_complaints_do_not_block_a_session_and_are_kept_up_to_the_limit(box: BoxedSandbox, tree: Tree) -> None:
    code = "import sys\nsys.stderr.write('e' * 1000000); sys.stderr.flush()\n" + ECHO
    with opened(box, tree(), code) as session:
        session.send(b"x")
        assert session.receive(10) == b"X"
        assert 0 < len(session.stderr) <= 64 * 1024


def test_long_lines_pass_both_ways(box: BoxedSandbox, tree: Tree) -> None:
    with opened(box, tree(), ECHO, SMALL.with_(output_kb=4096)) as session:
        session.send(b"a" * 1_000_000)
        assert session.receive(10) == b"A" * 1_000_000


def test_closing_kills_everything_the_session_started(box: BoxedSandbox, tree: Tree) -> None:
    word = f"stay-{uuid.uuid4().hex}"
    code = (
        "import os, sys, time\n"
        f"stay = [sys.executable, '-c', 'import time; time.sleep(99)', {word!r}]\n"
        "if os.fork() == 0:\n    os.setsid(); os.execv(stay[0], stay)\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    session = opened(box, tree(), code)
    assert session.receive(10) == b"ready"
    session.close()
    assert not running(word)


def test_a_session_dies_with_the_process_that_opened_it(box: BoxedSandbox, tree: Tree, tmp_path: Path) -> None:
    word = f"stay-{uuid.uuid4().hex}"
    script = (
        "import sys; from pathlib import Path\n"
        "from appliance.computers.probe import open_sandbox\n"
        "from appliance.config import Home\nfrom appliance.settings import ComputersSettings\n"
        "from appliance.ports import Limits\n"
        f"box = open_sandbox(ComputersSettings(tier={box.tier!r}), Home(Path(sys.argv[1])))\n"
        f"word = 'stay-' + {word.removeprefix('stay-')!r}\n"
        "code = 'import os, time; os.fork(); os.setsid(); print(1, flush=True); time.sleep(99)'\n"
        "session = box.open([box.python, '-c', code, word], tree=Path(sys.argv[2]), limits=Limits())\n"
        "session.receive(20); print('ready', flush=True); session.receive(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "home"), str(tree())]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
    assert running(word)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    until(lambda: not running(word), "everything inside has ended", 20)
