"""The supervisor with real child processes: small scripts that serve, crash, hang or will not go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.errors import Conflict, NotFound, Unavailable
from inference.child import LAUNCHER, in_words, last_words, rotate, tail
from inference.lifecycle import Patience, Phase
from inference.supervisor import ProcessSpec, Status, Supervisor

QUICK = Patience(
    start_seconds=20, stop_seconds=20, restart_limit=3, backoff_seconds=0.02, backoff_cap_seconds=0.1
)  # fmt: skip
SLEEP = "import time; print('hello', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
SLOW_TO_END = (
    "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit()));"
    "print('hello', flush=True); time.sleep(600)"
)
BROKEN = "import sys; print('loading'); print('error: the weights are cut short', file=sys.stderr); sys.exit(3)"


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `what()` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


def lives(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


class World:
    """A supervisor at work in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes = 0
        self.supervisor = Supervisor(on_change=self._changed, jitter=lambda: 0.5)

    def _changed(self) -> None:
        self.changes += 1

    def log(self, name: str = "a") -> Path:
        return self.folder / "logs" / f"{name}.log"

    def add(self, code: str, name: str = "a", **fields: Any) -> None:
        known: dict[str, Any] = {
            "argv": [sys.executable, "-S", "-c", code], "probe": lambda: self.said("hello", name), "patience": QUICK,
        }  # fmt: skip
        self.supervisor.add(ProcessSpec(name, log=self.log(name), **{**known, **fields}))
        self.supervisor.start(name)

    def said(self, words: str, name: str = "a") -> bool:
        return self.log(name).exists() and words in self.log(name).read_text()

    def status(self, name: str = "a") -> Status:
        return self.supervisor.status(name)

    def becomes(self, phase: Phase, name: str = "a") -> Status:
        return until(lambda: (status := self.status(name)).state is phase and status)  # type: ignore[no-any-return]

    @contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self.supervisor.run, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            self.supervisor.wake()
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def idle(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def world(idle: World) -> Iterator[World]:
    with idle.running():
        yield idle


def test_what_cannot_be_told_on_a_full_disk_ends_nothing_and_is_told_later(idle: World) -> None:
    told: list[Phase] = []
    full = threading.Event()
    full.set()

    def tell() -> None:
        if full.is_set():
            raise OSError(28, "No space left on device")
        told.append(idle.status().state)

    idle.supervisor = Supervisor(on_change=tell, jitter=lambda: 0.5)
    with idle.running():
        idle.add(SLEEP)
        idle.becomes(Phase.READY)
        assert told == []
        full.clear()
        until(lambda: told)
        assert told[0] is Phase.READY, "no change came after that: it is told all the same"


def test_a_wanted_process_starts_is_probed_and_ends_when_asked(world: World) -> None:
    world.add(SLEEP)
    ready = world.becomes(Phase.READY)
    assert ready.pid is not None and psutil.Process(ready.pid).cmdline()[-1] == SLEEP
    assert (ready.restarts, ready.reason, ready.next_try) == (0, "", None)
    world.supervisor.stop("a")
    stopped = world.becomes(Phase.STOPPED)
    assert stopped.pid is None and not lives(ready.pid) and world.changes >= 3
    world.supervisor.start("a")
    assert world.becomes(Phase.READY).pid != ready.pid


def test_it_is_not_ready_before_its_probe_says_so(world: World) -> None:
    opened = threading.Event()
    world.add(SLEEP, probe=opened.is_set)
    until(lambda: world.said("hello"))
    assert world.status().state is Phase.STARTING
    opened.set()
    world.becomes(Phase.READY)


def test_one_that_is_not_ready_in_time_is_killed_with_the_probes_reason(world: World) -> None:
    def refuse() -> bool:
        raise ConnectionRefusedError("nobody listens")

    world.add(SLEEP, probe=refuse, patience=Patience(start_seconds=1, backoff_seconds=60))
    pid = until(lambda: world.status().pid)
    failed = world.becomes(Phase.FAILED)
    assert failed.reason == "not ready after 1 s: ConnectionRefusedError: nobody listens"
    assert until(lambda: world.status().pid is None) and failed.next_try is not None and not lives(pid)


def test_a_killed_process_comes_back(world: World) -> None:
    world.add(SLEEP)
    pids = set[int]()
    for n in range(4):
        pid = until(lambda n=n: world.status().restarts == n and world.becomes(Phase.READY).pid)
        pids.add(pid)
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: world.status().restarts == 4 and world.becomes(Phase.READY).pid) not in pids
    assert len(pids) == 4


def test_one_that_never_starts_is_parked_with_the_reason_from_its_log(world: World) -> None:
    world.add(BROKEN, probe=lambda: False)
    parked = until(lambda: (status := world.status()).state is Phase.FAILED and not status.next_try and status)
    assert "ended with status 3: error: the weights are cut short" in parked.reason
    assert "3 times in a row; not tried again" in parked.reason and parked.restarts == 2
    world.supervisor.start("a")
    until(lambda: world.status().restarts == 5 and world.status().next_try is None)


def test_a_program_that_is_not_there_is_parked_with_its_name(world: World) -> None:
    world.add("", argv=["/nonexistent/llama-server"])
    parked = until(lambda: (status := world.status()).state is Phase.FAILED and not status.next_try and status)
    assert "cannot start /nonexistent/llama-server: No such file" in parked.reason


def test_a_command_that_cannot_be_made_now_fails_alone(world: World) -> None:
    found: list[str] = []

    def argv() -> list[str]:
        if not found:
            raise Unavailable("there is no llama-server", "install it")
        return [sys.executable, "-S", "-c", SLEEP]

    world.add("", argv=argv)
    world.add(SLEEP, "b")
    until(lambda: world.status().state is Phase.FAILED and not world.status().next_try)
    assert "cannot be started: there is no llama-server" in world.status().reason
    world.becomes(Phase.READY, "b")
    found.append("yes")
    world.supervisor.start("a")
    world.becomes(Phase.READY)


def test_one_that_does_not_listen_to_terminate_is_killed(world: World) -> None:
    world.add(DEAF, probe=lambda: world.said("deaf"), patience=Patience(stop_seconds=0.3))
    pid = world.becomes(Phase.READY).pid
    world.supervisor.stop("a")
    world.becomes(Phase.DRAINING)
    world.becomes(Phase.STOPPED)
    assert pid is not None and not lives(pid)


def test_work_in_flight_is_finished_first(idle: World) -> None:
    working = threading.Event()
    working.set()
    with idle.running():
        idle.add(SLEEP, busy=working.is_set, patience=Patience(drain_seconds=600))
        idle.add(SLEEP, "b", busy=working.is_set, patience=Patience(drain_seconds=600))
        pid = idle.becomes(Phase.READY).pid
        idle.becomes(Phase.READY, "b")
        idle.supervisor.stop("a")
        idle.becomes(Phase.DRAINING)
        assert pid is not None and lives(pid)
        working.clear()
        idle.becomes(Phase.STOPPED)
        working.set()
    assert idle.status("b").state is Phase.STOPPED, "the end of the supervisor waits for no work"


def test_start_while_draining_brings_it_back(world: World) -> None:
    world.add(DEAF, probe=lambda: world.said("deaf"), patience=Patience(stop_seconds=0.3))
    first = world.becomes(Phase.READY).pid
    world.supervisor.stop("a")
    world.becomes(Phase.DRAINING)
    world.supervisor.start("a")
    assert until(lambda: world.becomes(Phase.READY).pid not in (first, None))


def test_renewing_ends_it_and_starts_it_with_a_new_command(world: World) -> None:
    made: list[str] = []

    def argv() -> list[str]:
        made.append(str(len(made)))
        return [sys.executable, "-S", "-c", SLEEP, made[-1]]

    world.add("", argv=argv)
    first = world.becomes(Phase.READY).pid
    world.supervisor.renew("a")
    second = until(lambda: (s := world.status()).state is Phase.READY and s.pid != first and s.pid)
    assert psutil.Process(second).cmdline()[-1] == "1" and world.status().restarts == 0


def test_a_probe_that_hangs_holds_up_nobody(world: World) -> None:
    answer = threading.Event()
    world.add(SLEEP, probe=lambda: answer.wait(30))
    world.add(SLEEP, "b")
    world.becomes(Phase.READY, "b")
    assert world.status().state is Phase.STARTING
    answer.set()
    world.becomes(Phase.READY)


def test_what_it_started_itself_ends_with_it(world: World) -> None:
    code = (
        "import subprocess, sys, time\n"
        "made = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        "print('hello', made.pid, flush=True)\n"
        "time.sleep(600)"
    )
    world.add(code)
    pid = world.becomes(Phase.READY).pid
    grandchild = int(world.log().read_text().split()[1])
    assert pid is not None and lives(grandchild)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not lives(grandchild))


def test_it_gets_the_environment_it_is_given_and_nothing_to_read(world: World) -> None:
    code = "import os, sys, time; print('hello', sorted(os.environ), repr(sys.stdin.read()), flush=True); time.sleep(9)"
    world.add(code, env={"HOME": "/", "LC_ALL": "C"})
    world.becomes(Phase.READY)
    assert world.log().read_text() == "hello ['HOME', 'LC_ALL'] ''\n"


def test_one_that_answers_no_longer_is_killed_and_comes_back(world: World) -> None:
    silent = threading.Event()
    patience = replace(QUICK, alive_seconds=0.02, alive_misses=2)
    world.add(SLEEP, alive=lambda: not silent.is_set(), patience=patience)
    before = world.becomes(Phase.READY)
    silent.set()
    failed = until(lambda: (status := world.status()).restarts and status)
    silent.clear()
    assert failed.reason == "answers no longer"
    assert world.becomes(Phase.READY).pid != before.pid and not lives(before.pid or 0)


def test_one_look_without_an_answer_is_not_its_end(world: World) -> None:
    answers = iter([True, False, True, False, False, True])
    asked: list[bool] = []

    def alive() -> bool:
        asked.append(next(answers, True))
        return asked[-1]

    world.add(SLEEP, alive=alive, patience=replace(QUICK, alive_seconds=0.01, alive_misses=3))
    until(lambda: len(asked) > 8)
    assert world.status().restarts == 0 and world.status().state is Phase.READY


def test_what_runs_elsewhere_goes_through_the_same_states_without_a_process(world: World) -> None:
    there = threading.Event()

    def ask() -> bool:
        if not there.is_set():
            raise Unavailable("nobody answers there", "start it")
        return True

    patience = Patience(start_seconds=0.2, backoff_seconds=0.02, backoff_cap_seconds=0.1, alive_seconds=0.02,
                        alive_misses=2)  # fmt: skip
    world.add("", argv=None, probe=ask, alive=ask, patience=patience)
    assert world.becomes(Phase.FAILED).reason == "not ready after 0.2 s: nobody answers there"
    there.set()
    ready = world.becomes(Phase.READY)
    assert ready.pid is None and ready.reason == ""
    there.clear()
    assert world.becomes(Phase.FAILED).reason == "answers no longer: nobody answers there"
    there.set()
    world.becomes(Phase.READY)
    world.supervisor.stop("a")
    world.becomes(Phase.STOPPED)
    assert not world.log().exists()


def test_the_reason_is_the_one_made_of_its_log_when_there_is_one(world: World) -> None:
    world.add(BROKEN, "a", explain=lambda said: "the file is short" if "cut short" in said else "")
    world.add(BROKEN, "b", explain=lambda said: "")
    assert world.becomes(Phase.FAILED).reason.startswith("ended with status 3: the file is short")
    assert "the weights are cut short" in world.becomes(Phase.FAILED, "b").reason


def test_names_are_kept_apart(world: World) -> None:
    world.add(SLEEP)
    with pytest.raises(Conflict):
        world.add(SLEEP)
    world.becomes(Phase.READY)
    with pytest.raises(Conflict, match="'a' is ready"):
        world.supervisor.remove("a")
    for order in (world.supervisor.start, world.supervisor.stop, world.supervisor.renew, world.supervisor.remove):
        with pytest.raises(NotFound) as caught:
            order("b")
        assert caught.value.hint == "there are: a"
    world.supervisor.stop("a")
    world.becomes(Phase.STOPPED)
    world.supervisor.remove("a")
    assert world.supervisor.statuses() == ()


def test_the_end_of_the_supervisor_is_the_end_of_all(idle: World) -> None:
    with idle.running():
        idle.add(SLEEP)
        idle.add(SLEEP, "b")
        pids = [idle.becomes(Phase.READY, name).pid for name in "ab"]
    assert not any(lives(pid) for pid in pids if pid)
    assert [status.state for status in idle.supervisor.statuses()] == [Phase.STOPPED] * 2


def test_what_others_need_to_finish_ends_after_them(idle: World) -> None:
    ended: list[str] = []

    def note() -> None:
        ended.extend(
            status.name for status in idle.supervisor.statuses()
            if status.state is Phase.STOPPED and status.name not in ended
        )  # fmt: skip

    with idle.running():
        idle.add(SLEEP, "engines", outlives=("gateway",))
        idle.add(SLOW_TO_END, "gateway")
        for name in ("engines", "gateway"):
            idle.becomes(Phase.READY, name)
        idle.supervisor._on_change = note
    assert ended == ["gateway", "engines"]


def test_a_listener_that_fails_leaves_no_child_behind(tmp_path: Path) -> None:
    def fail() -> None:
        if world.status().state is Phase.READY:
            raise RuntimeError("a fault of ours")

    world = World(tmp_path)
    world.supervisor = Supervisor(on_change=fail)
    world.add(SLEEP)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        world.supervisor.run(threading.Event())
    pid = world.status().pid
    assert pid is not None and not lives(pid)


def test_a_status_is_json(world: World) -> None:
    world.add(SLEEP)
    row = json.loads(json.dumps(world.becomes(Phase.READY).as_json()))
    assert row["state"] == "ready" and row["name"] == "a" and row["since"].endswith("+00:00")


SUPERVISE = """
import sys, threading
from pathlib import Path
from inference.supervisor import ProcessSpec, Supervisor
folder, depth = Path(sys.argv[1]), int(sys.argv[2])
deeper = [sys.executable, "-c", Path(sys.argv[3]).read_text(), str(folder / "in"), str(depth - 1), sys.argv[3]]
leaf = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
supervisor = Supervisor()
supervisor.add(ProcessSpec("a", deeper if depth else leaf, folder / "a.log", lambda: True))
supervisor.start("a")
supervisor.run(threading.Event())
"""


def test_killed_supervisor_takes_its_children_and_theirs_along(tmp_path: Path) -> None:
    script = tmp_path / "supervise.py"
    script.write_text(SUPERVISE)
    with subprocess.Popen([sys.executable, "-c", SUPERVISE, str(tmp_path / "out"), "1", str(script)]) as process:
        below = psutil.Process(process.pid)
        # supervisor → supervisor → sleeper; each starts as the launcher, and only then becomes what it is to be
        line = until(lambda: (c := below.children(recursive=True)) and len(c) == 2 and "time.sleep" in said(c[1]) and c)
        process.kill()
        process.wait()
        until(lambda: not any(lives(one.pid) for one in line))


def said(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return str(process.cmdline()[-1])
    return ""


def test_a_child_whose_supervisor_died_before_it_could_ask_gives_up() -> None:
    argv = [sys.executable, "-I", "-S", str(LAUNCHER), "9", "1", "/bin/sleep", "60"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and done.stderr == "the supervisor is gone\n"


def test_logs_are_kept_short_while_they_are_written(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert not rotate(log)
    with log.open("a") as writer:
        writer.write("x" * 100)
        writer.flush()
        assert not rotate(log, limit=100) and rotate(log, limit=99)
        writer.write("after")
    assert log.read_text() == "after" and (tmp_path / "a.log.1").read_text() == "x" * 100


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("one\ntwo\n\n", "two"),
        ("load\nerror: bad magic\nbye\n", "error: bad magic"),
        ("Failed to load\n", "Failed to load"),
        (
            "0.00.005.101 E load: error: key not found: x\n0.00.005.687 E srv: exiting\nerror",
            "load: error: key not found: x",
        ),
        ("2026-11-26 00:18:59,120 ERROR appliance: no room\n", "ERROR appliance: no room"),
    ],
)
def test_the_last_words_are_those_that_tell_most(tmp_path: Path, text: str, words: str) -> None:
    log = tmp_path / "a.log"
    log.write_text("error: of an earlier run\n" + text)
    assert last_words(tail(log, len("error: of an earlier run\n")), ["key not found"]) == words
    assert last_words(tail(tmp_path / "none")) == ""


def test_an_end_is_put_into_words() -> None:
    assert in_words(0, "bye") == "ended with status 0: bye"
    assert in_words(-signal.SIGABRT, "GGML_ASSERT(x) failed") == "killed by SIGABRT: GGML_ASSERT(x) failed"
    assert in_words(-signal.SIGKILL, "all is well") == "killed by SIGKILL"
    assert in_words(-300, "") == "killed by signal 300"
