"""The pool and its door, with engines that are mere sleepers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Home
from appliance.engines_client import EnginesClient, error_from
from appliance.errors import FactoryError, LimitExceeded, NotFound, Unavailable
from appliance.settings import EnginesSettings, Settings
from appliance.sockets import short_name
from inference.engines.control import MAX_BODY, STATUS, ControlServer
from inference.engines.engine import Engine, Seat
from inference.engines.needs import Need, Part, Wish
from inference.engines.openings import free_port, port_is_free, write_private
from inference.engines.pool import Pool
from inference.engines.showing import Showing
from inference.lifecycle import Patience
from models.card import Card
from models.importing import import_model
from models.registry import Registry
from models.shape import Shape
from tests.inference.engines_process import until
from tests.models.gguf_files import METADATA, TENSORS, assemble, number

# -- the pool --------------------------------------------------------------------------------------------------------


class Sleepers:
    """An engine that serves nothing, and is ready at once."""

    kind = "sleeper"
    formats = frozenset({"gguf"})
    local = True
    telling: tuple[str, ...] = ()
    death_signal = signal.SIGKILL
    needs = 1

    def argv(self, seat: Seat) -> tuple[str, ...]:
        code = "import time; time.sleep(600)"
        return (sys.executable, "-S", "-c", code, str(seat.port), str(seat.threads))

    def env(self, seat: Seat) -> Mapping[str, str]:
        return {"PATH": "/usr/bin:/bin"}

    def key(self, card: Card) -> str:
        return ""

    def patience(self, usual: Patience) -> Patience:
        return usual

    def explain(self, said: str) -> str:
        return ""

    def answers(self, seat: Seat) -> bool:
        return True

    def alive(self, seat: Seat) -> bool:
        return True

    def busy(self, seat: Seat) -> bool:
        return False

    def on_gpu(self) -> bool:
        return False

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:
        return Need((Part("all", self.needs, "told"),))


def write_model(path: Path, fill: int) -> Path:
    path.write_bytes(assemble([*METADATA, number("llama.block_count", 2)], TENSORS, 128 + 160, fill=fill))
    return path


@pytest.fixture
def stocked(home: Home, tmp_path: Path) -> Home:
    for n, id in enumerate("abc"):
        import_model(write_model(tmp_path / f"{id}.gguf", n), Registry(home.models), aliases=(f"{id}-alias",))
    return home


@contextmanager
def at_work(home: Home, kind: Engine | None = None, **settings: Any) -> Iterator[Pool]:
    settings_of = Settings(engines=EnginesSettings(threads=4, **settings))
    with running_pool(Pool(home, settings_of, [kind or Sleepers()]), home) as pool:
        yield pool


@contextmanager
def running_pool(pool: Pool, home: Home) -> Iterator[Pool]:
    door = ControlServer(home.run / "engines.sock", pool, Showing(home, Settings(), ()))
    stop = threading.Event()
    threads = [
        threading.Thread(target=pool.run, args=(stop,)),
        threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02}),
    ]
    for thread in threads:
        thread.start()
    try:
        yield pool
    finally:
        stop.set()
        threads[0].join(30)
        door.close()
        threads[1].join(30)


@pytest.fixture
def pool(stocked: Home) -> Iterator[Pool]:
    with at_work(stocked) as made:
        yield made


def row(pool: Pool, model: str) -> dict[str, Any]:
    return next((row for row in pool.rows() if row["model"] == model), {})


def ready(pool: Pool, model: str) -> dict[str, Any]:
    return until(lambda: (now := row(pool, model)).get("state") == "ready" and now)  # type: ignore[no-any-return]


def test_loading_twice_is_loading_once(pool: Pool) -> None:
    pool.load("a")
    first = ready(pool, "a")
    assert pool.load("a-alias")["pid"] == first["pid"] and len(pool.rows()) == 1


def test_what_runs_is_published_whenever_it_changes(pool: Pool) -> None:
    pool.load("a")
    ready(pool, "a")
    until(lambda: json.loads(pool.published.read_text()) == pool.rows())
    published = json.loads(pool.published.read_text())[0]
    assert set(published) == {
        "model", "state", "pid", "since", "restarts", "reason", "next_try", "engine", "url", "api_key_file",
        "context_tokens", "slots", "threads", "pinned", "ram_bytes", "gpu_bytes", "ca_file", "served_as",
        "start_seconds",
    }  # fmt: skip
    pool.unload("a")
    until(lambda: json.loads(pool.published.read_text()) == [])
    assert not Path(published["api_key_file"]).exists()


def test_threads_follow_the_number_of_writers(pool: Pool) -> None:
    pool.load("a")
    assert ready(pool, "a")["threads"] == 4
    pool.load("b")
    until(lambda: ready(pool, "a")["threads"] == ready(pool, "b")["threads"] == 2)
    pool.load("c")
    until(lambda: [ready(pool, id)["threads"] for id in "abc"] == [2, 1, 1])
    for id in "bc":
        pool.unload(id)
    until(lambda: len(pool.rows()) == 1)
    assert ready(pool, "a")["threads"] == 2, "more threads are not worth a restart"
    os.kill(ready(pool, "a")["pid"], signal.SIGKILL)
    until(lambda: ready(pool, "a")["threads"] == 4)


def test_a_port_that_somebody_took_is_left_to_them(pool: Pool) -> None:
    pool.load("a")
    before = ready(pool, "a")
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", int(before["url"].rsplit(":", 1)[1])))
        thief.listen()
        os.kill(before["pid"], signal.SIGKILL)
        after = until(lambda: (now := ready(pool, "a"))["restarts"] == 1 and now)
    assert after["url"] != before["url"] and after["api_key_file"] == before["api_key_file"]


def test_loaded_while_on_its_way_out_it_comes_back(pool: Pool) -> None:
    pool.load("a")
    ready(pool, "a")
    for _ in range(5):
        pool.unload("a")
        pool.load("a")
        assert ready(pool, "a")
        time.sleep(0.03)
    assert ready(pool, "a")["restarts"] == 0


def test_orders_from_many_threads_end_in_order(pool: Pool) -> None:
    def order(n: int) -> None:
        for m in range(15):
            try:
                (pool.load if (n + m) % 3 else pool.unload)("abc"[(n * m) % 3])
            except NotFound:
                continue

    threads = [threading.Thread(target=order, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    for id in "abc":
        pool.load(id)
        ready(pool, id)
    until(lambda: sum(one["threads"] for one in pool.rows()) <= 4)


def test_a_model_that_does_not_fit_is_not_half_loaded(stocked: Home) -> None:
    kind = Sleepers()
    kind.needs = 1 << 60
    with at_work(stocked, kind) as pool:
        with pytest.raises(LimitExceeded, match="a does not fit"):
            pool.load("a")
        assert pool.rows() == [] and list(pool.scratch.glob("*.key")) == []


def test_a_format_nobody_serves_is_refused(stocked: Home) -> None:
    kind = Sleepers()
    kind.formats = frozenset({"safetensors"})
    with at_work(stocked, kind) as pool, pytest.raises(Unavailable, match="no engine on this box serves gguf"):
        pool.load("a")


def test_preloading_shows_what_could_not_be(stocked: Home) -> None:
    with at_work(stocked, preload=["a", "nope"]) as pool:
        pool.preload()
        assert ready(pool, "a") and row(pool, "nope")["reason"].startswith("there is no model 'nope'")


def test_what_a_killed_process_left_is_swept_away(stocked: Home) -> None:
    pool = Pool(stocked, Settings(), [Sleepers()])
    pool.sweep()
    pool.scratch.mkdir()
    write_private(pool.scratch / "old.key", "secret")
    write_private(pool.published, '[{"model": "old", "state": "ready"}]')
    pool.sweep()
    assert list(pool.scratch.iterdir()) == [] and json.loads(pool.published.read_text()) == []


# -- its door --------------------------------------------------------------------------------------------------------


def test_orders_through_the_door(pool: Pool, stocked: Home) -> None:
    client, said = EnginesClient(stocked), list[str]()
    assert client.healthy() and client.engines() == []
    assert client.load("a-alias")["model"] == "a"
    made = client.wait_ready("a", 30, said.append)
    assert made == row(pool, "a") and client.engines() == [made]
    assert client.unload("a")["model"] == "a"
    until(lambda: client.engines() == [])
    with pytest.raises(Unavailable, match="a is not loaded"):
        client.wait_ready("a", 1)


def test_a_look_at_a_model_tells_what_it_takes_and_what_it_said_last(pool: Pool, stocked: Home) -> None:
    client = EnginesClient(stocked)
    with pytest.raises(NotFound, match="not loaded"):
        client.look("a")
    client.load("a")
    ready(pool, "a")
    (stocked.logs / "engine-a.log").write_text("hello\n")
    seen = client.look("a-alias")
    assert seen["model"] == "a" and seen["log"] == ["hello"]
    assert seen["use"]["processes"] == 1 and seen["use"]["ram_bytes"] > 0 and seen["use"]["cores"] >= 0


def test_errors_come_through_the_door_as_they_were_raised(pool: Pool, stocked: Home) -> None:
    client = EnginesClient(stocked)
    with pytest.raises(NotFound, match="there is no model 'nope'") as caught:
        client.load("nope")
    assert caught.value.hint
    with pytest.raises(NotFound, match="not loaded"):
        client.unload("a")
    for kind, _ in STATUS:
        again = error_from(kind("what", "do").as_dict())
        assert (type(again), again.message, again.hint) == (kind, "what", "do")
    assert type(error_from(["no", "shape"])) is FactoryError


def test_a_disk_that_is_full_is_told_through_the_door(
    pool: Pool, stocked: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pool, "load", full)
    with pytest.raises(Unavailable, match="cannot write: No space left on device") as caught:
        EnginesClient(stocked).load("a")
    assert "disk" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/load", b"{", 400), ("/load", b"[]", 400), ("/load", b"{}", 400), ("/load", b'{"model": 3}', 400),
        ("/load", b" " * (MAX_BODY + 1), 400), ("/other", b'{"model": "a"}', 404),
    ],
)  # fmt: skip
def test_what_is_no_order_is_refused(pool: Pool, stocked: Home, path: str, body: bytes, status: int) -> None:
    connection = http.client.HTTPConnection("engines", timeout=10)
    with socket.socket(socket.AF_UNIX) as connection.sock, short_name(stocked.run / "engines.sock") as name:
        connection.sock.connect(name)
        sent = body if len(body) <= MAX_BODY else None  # it hangs up on one too long without reading it
        connection.request("POST", path, sent, {"Content-Length": str(len(body))})
        response = connection.getresponse()
        assert response.status == status and json.loads(response.read())["error"]["hint"]
        connection.close()


def test_without_an_engines_process_it_says_how_to_start_one(home: Home) -> None:
    client = EnginesClient(home, timeout=1)
    assert not client.healthy()
    for call in (client.engines, lambda: client.load("a"), lambda: client.unload("a")):
        with pytest.raises(Unavailable) as caught:
            call()
        assert "appliance up" in caught.value.hint


def test_waiting_has_an_end(stocked: Home) -> None:
    class Never(Sleepers):
        def answers(self, seat: Seat) -> bool:
            return False

    with at_work(stocked, Never()) as pool:
        pool.load("a")
        with pytest.raises(LimitExceeded, match="not ready after"):
            EnginesClient(stocked).wait_ready("a", 0.2)


# -- small things ----------------------------------------------------------------------------------------------------


def test_private_files_are_whole_and_private(tmp_path: Path) -> None:
    file = tmp_path / "key"
    (tmp_path / ".key.new").write_text("left by a killed process")
    write_private(file, "one")
    write_private(file, "two")
    assert file.read_text() == "two" and file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_ports_are_free_until_somebody_listens() -> None:
    port = free_port()
    assert port_is_free(port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not port_is_free(port)
