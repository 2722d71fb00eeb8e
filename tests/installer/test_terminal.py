"""What a person sees while a command runs, and what becomes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.terminal import elapsed, run
from tests.installer.world import lively, quiet

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60.0, "1 min 00 s"), (605.0, "10 min 05 s")]
)
def test_durations_are_written_as_people_do(seconds: float, text: str) -> None:
    assert elapsed(seconds) == text


def test_a_running_command_shows_its_share_and_its_last_line(tmp_path: Path) -> None:
    terminal, screen = lively()
    run(["sh", "-c", "echo 40; sleep 1.3"], terminal, "step", tmp_path / "log", progress=lambda line: int(line) / 100)
    assert " 40% " in screen.getvalue() and screen.getvalue().count("\r") >= 2


def test_all_output_is_kept_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "setup.log"
    run(["sh", "-c", "echo out; echo err >&2"], quiet(), "step", log)
    assert log.read_text("utf-8").splitlines() == ["", "$ sh -c echo out; echo err >&2", "out", "err"]


def test_a_failed_command_is_an_error_with_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"step failed \(status 7\):\n(.*\n)*line 99\n") as error:
        run(["sh", "-c", "seq -f 'line %g' 99; exit 7"], quiet(), "step", tmp_path / "log")
    assert "line 1\n" not in error.value.message
    assert str(tmp_path / "log") in error.value.hint


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="cannot start"):
        run([tmp_path / "nothing"], quiet(), "step", tmp_path / "log", hint="bring it")


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    run([sys.executable, "-c", r"import os; os.write(1, b'\xff\xfe\n')"], quiet(), "step", tmp_path / "log")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What runs in the background of a shell is started with interruptions ignored, and so would be all it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interruption_ends_the_command_and_all_it_started(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from installer.terminal import Terminal, run; "
        f"run(['sh', '-c', 'sleep 600 & echo $! > {tmp_path}/child; wait'], Terminal(), 'step', Path('{tmp_path}/log'))"
    )
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    written = tmp_path / "child"
    _until(lambda: written.exists() and written.read_text("utf-8").strip() != "")
    caller.send_signal(signal.SIGINT)
    caller.wait()
    _until(lambda: not _alive(int(written.read_text("utf-8"))))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _until(true: object, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_child_in_the_foreground_gives_its_status() -> None:
    command = [sys.executable, "-m", "installer", "run", "sh", "-c"]
    assert subprocess.run([*command, "exit 5"], cwd=ROOT).returncode == 5
    assert subprocess.run([*command, "kill -TERM $$"], cwd=ROOT).returncode == 128 + signal.SIGTERM


@pytest.mark.usefixtures("interruptible")
def test_a_signal_to_the_caller_reaches_the_child_which_ends_in_order(tmp_path: Path) -> None:
    script = (
        f"trap 'echo ended > {tmp_path}/ended; exit 0' INT; echo ready > {tmp_path}/ready; while :; do sleep 0.05; done"
    )
    caller = subprocess.Popen([sys.executable, "-m", "installer", "run", "sh", "-c", script], cwd=ROOT)
    _until((tmp_path / "ready").exists)
    os.kill(caller.pid, signal.SIGINT)
    assert caller.wait() == 0
    assert (tmp_path / "ended").exists()
