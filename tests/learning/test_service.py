"""The learning process as others meet it: over its socket, killed, started twice."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from nanoarrow import ArrayStream

from appliance.cli.main import root
from appliance.config import Home, render
from appliance.errors import Conflict, LimitExceeded, NotFound, Unavailable, UsageError
from appliance.events import Event, Fact
from appliance.learning import LearningClient
from appliance.learning.client import socket_file
from appliance.learning.door import Door
from appliance.learning.service import Learning, rebuild_stopped
from appliance.learning.tables import DERIVED
from appliance.ledger import open_ledger
from appliance.settings import Settings
from appliance.sockets import short_name
from tests.learning.world import calls, spooled, tell, with_repositories

KILLED = Path(__file__).with_name("killed.py")


@pytest.fixture
def told(home: Home) -> Home:
    home.settings_file.write_text(render(Settings()))
    (home.secrets / "audit.key").write_bytes(os.urandom(32))
    ledger = with_repositories(open_ledger(home))
    tell(ledger, range(1, 11))
    ledger.close()
    return home


def start(home: Home, **settings: str) -> subprocess.Popen[bytes]:
    """The real process."""
    chosen = {f"APPLIANCE_LEARNING_{name.upper()}": value for name, value in settings.items()}
    with (home.logs / "learning.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "appliance", "serve", "learning", "--home", str(home.root)],
            env={**os.environ, **chosen}, stdout=log, stderr=log,
        )  # fmt: skip


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


@contextmanager
def running(home: Home) -> Iterator[LearningClient]:
    process = start(home, poll_seconds="0.05")
    client = LearningClient(home)
    try:
        until(lambda: client.answers() and client.status()["behind"] == 0)
        yield client
    finally:
        process.terminate()
        assert process.wait(30) == 0


@pytest.mark.integration
def test_other_processes_ask_over_the_socket_and_see_what_happened_since(told: Home) -> None:
    with running(told) as client:
        assert client.status()["items"] == 10
        assert oct(socket_file(told).stat().st_mode & 0o777) == "0o600"
        assert {row["stage"] for row in client.query("stage_durations")} >= {"triage"}
        ledger = open_ledger(told)
        tell(ledger, range(11, 13))
        until(lambda: client.status()["items"] == 12)
        with pytest.raises(NotFound):
            client.query("nonsense")
        with pytest.raises(UsageError):
            client.query("outcomes", days="many")
        before = client.query("outcomes")
        assert client.rebuild()["behind"] == 0 and client.query("outcomes") == before
        assert ledger.watermark("learning") == ledger.tip()[0]
        ledger.close()
    assert not socket_file(told).exists()


def test_what_repairs_teach_is_written_when_it_changed_and_a_rebuild_writes_the_same(home: Home) -> None:
    ledger, file = with_repositories(open_ledger(home)), home.policy / "repair.json"
    tell(ledger, range(1, 4))
    learning = Learning(home, Settings())
    try:
        learning.catch_up()
        learning.publish_priors()
        assert not file.exists()
        facts = {"repo": "shop", "template": "comparison", "place": "if", "paths": ["a.py"]}
        ledger.append(Event(kind=Fact.OUTCOME_LEARNED, subject="W-1", payload={"stage": "learn", "facts": facts}))
        learning.catch_up()
        learning.publish_priors()
        written = file.read_bytes()
        assert json.loads(written)["repositories"]["shop"]["templates"] == {"comparison": 1.0}
        before = file.stat().st_ino
        learning.rebuild()
        learning.publish_priors()
        assert file.stat().st_ino == before, "the same content is not written again"
        file.unlink()
        learning.rebuild()
        learning.publish_priors()
        assert file.read_bytes() == written
    finally:
        learning.close()
        ledger.close()


@pytest.mark.integration
def test_a_second_learning_process_is_refused(told: Home) -> None:
    with running(told):
        assert start(told).wait(30) == 1
        assert "another learning process works in this home" in (told.logs / "learning.log").read_text()
        with pytest.raises(Conflict):
            rebuild_stopped(told, Settings())


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_killed_at_random_moments_it_loses_and_doubles_nothing(told: Home) -> None:
    dice = random.Random(2026)
    ledger = open_ledger(told)
    client = LearningClient(told)
    for kill in range(6):
        tell(ledger, range(100 + 40 * kill, 140 + 40 * kill))
        spooled(told, calls(range(50 * kill, 50 * kill + 50)))
        behind = ledger.watermark("learning")
        process = start(told, batch_rows="5", poll_seconds="0.01")
        until(lambda behind=behind: ledger.watermark("learning") > behind)  # type: ignore[misc]
        time.sleep(dice.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
    tip = ledger.tip()[0]
    with running(told):
        until(lambda: client.status()["model_calls"] == 300)
        assert client.status()["events"] >= tip
        assert client.status()["begun_anew"] == ""
    assert not list(told.root.glob("learning.duckdb.aside-*")), "a kill never costs the store"
    same_when_built_anew(told)
    ledger.close()


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_killed_at_any_statement_it_loses_and_doubles_nothing(told: Home) -> None:
    ledger = open_ledger(told)
    kills = [*range(1, 40, 5), 60, 110, 170]
    for n, statement in enumerate(kills):
        tell(ledger, range(100 + 3 * n, 103 + 3 * n))
        spooled(told, calls(range(10 * n, 10 * n + 10)), f"usage-202611{n % 2 + 20}.jsonl")
        ended = subprocess.run([sys.executable, str(KILLED), str(told.root), str(statement)], check=False)
        assert ended.returncode in (0, -signal.SIGKILL)
    learning = Learning(told, Settings())
    learning.catch_up()
    status = learning.status()
    assert (status["events"], status["model_calls"], status["begun_anew"]) == (ledger.tip()[0], 10 * len(kills), "")
    learning.close()
    assert not list(told.root.glob("learning.duckdb.aside-*")), "a kill never costs the store"
    same_when_built_anew(told)
    ledger.close()


def same_when_built_anew(home: Home) -> None:
    learning = Learning(home, Settings())
    learning.catch_up()
    before = learning.digest()
    learning.close()
    rebuild_stopped(home, Settings())
    learning = Learning(home, Settings())
    assert learning.digest() == before
    learning.close()


@pytest.mark.integration
def test_the_command_line_tells_and_rebuilds_with_the_process_and_without(told: Home) -> None:
    def call(*words: str) -> dict[str, object]:
        result = CliRunner().invoke(root, ["--home", str(told.root), "--json", "learn", *words], catch_exceptions=False)
        found: dict[str, object] = json.loads(result.stdout)
        return found

    assert call("rebuild", "--yes")["items"] == 10
    with running(told):
        assert call("rebuild", "--yes")["items"] == 10
        assert call("status", "--repo", "shop")["outcomes"]
        found = call("query", "SELECT item, opened FROM items ORDER BY ALL", "--limit", "3")
        assert found["columns"] == ["item", "opened"] and found["more"]
        assert [row[0] for row in found["rows"]] == ["W-1", "W-10", "W-2"]  # type: ignore[attr-defined]
        rows = call("export", str(told.root / "out"))["rows"]
        assert rows["items"] == 10  # type: ignore[index]
        lines = CliRunner().invoke(
            root, ["--home", str(told.root), "learn", "query", "SELECT 1 AS a, 'x,y' AS b", "--format", "csv"]
        )
        assert lines.stdout == 'a,b\n1,"x,y"\n'
        stream = CliRunner().invoke(
            root, ["--home", str(told.root), "learn", "query", "SELECT 1 AS a", "--format", "arrow"]
        )
        assert ArrayStream.from_readable(stream.stdout_bytes).read_all().to_pylist() == [{"a": 1}]
    assert sorted(file.stem for file in (told.root / "out").iterdir()) == sorted(DERIVED)
    assert not list((told.root / "exports").iterdir())


def ask(home: Home, raw: bytes) -> bytes:
    with short_name(socket_file(home)) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(name)
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)
        return line.makefile("rb").read()


@pytest.mark.parametrize("raw", [b"", b"\n", b"[]\n", b"{\n", b"\xff\xfe\n", b'{"ask": ' + b'"x' * 40_000 + b"\n"])
def test_what_is_no_question_gets_an_error_in_the_usual_shape(home: Home, raw: bytes) -> None:
    with Door(home, lambda question: question):
        assert json.loads(ask(home, raw))["error"]["code"] == "usage"


def test_who_leaves_without_an_answer_is_no_fault(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    left, answered = threading.Event(), threading.Event()

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        assert left.wait(60)
        answered.set()
        return {"rows": "x" * 1_000_000}

    with Door(home, answer):
        with socket.socket(socket.AF_UNIX) as asks, short_name(socket_file(home)) as name:
            asks.connect(name)
            asks.sendall(b"{}\n")
        with socket.socket(socket.AF_UNIX) as looks, short_name(socket_file(home)) as name:
            looks.connect(name)
        left.set()
        assert answered.wait(60)
    assert "Traceback" not in caplog.text and "could not be answered" not in caplog.text


def test_errors_keep_their_kind_on_the_way_to_the_client(home: Home) -> None:
    def answer(_question: dict[str, object]) -> dict[str, object]:
        raise LimitExceeded("too long", "ask for less")

    with Door(home, answer), pytest.raises(LimitExceeded, match="too long") as caught:
        LearningClient(home).status()
    assert caught.value.hint == "ask for less"


def test_a_home_too_deep_for_a_socket_address_works(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("d" * 100) / ("e" * 100))
    deep.run.mkdir(parents=True)
    with Door(deep, lambda _question: {"status": {"events": 1}}):
        assert LearningClient(deep).status() == {"events": 1}


def test_a_stopped_learning_process_is_said_as_such(home: Home) -> None:
    with pytest.raises(Unavailable, match="does not answer") as caught:
        LearningClient(home).status()
    assert "appliance up" in caught.value.hint
    home.run.rmdir()
    assert not LearningClient(home).answers()
