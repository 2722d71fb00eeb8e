"""A storm: clients at every door of a real box while its processes are killed, and the account afterwards.

Each client has a key of its own that allows one call at a time, so that what it saw can be held against what the box
has counted for it: a call that was answered must be counted, one that never came in must not be, and a place that a
dead worker held would keep its client out for good.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from appliance.config import Home
from appliance.repair.ngram import FILE as NGRAMS
from inference.counts import ENDED, GONE, PROGRESS, RESERVED, SNAPSHOT
from inference.journal import FILE, read_counts
from inference.keys import KeyStore, Terms
from inference.limits import Limits
from models.importing import import_model
from models.minilm import ID as EMBEDDER
from models.minilm import ensure_default
from models.registry import Registry
from tests.e2e.world import RunningBox
from tests.inference.gateway_process import eventually
from tests.inference.tiny_model import write_tiny_llama

WRITER, RANKER = "tiny", "ranker"
ANSWER_SECONDS, QUEUE_SECONDS = 20, 15
LIMIT = 60.0
"""Seconds after which a call counts as hung: three times what the box allows itself."""
SETTINGS = (
    f"[gateway]\nrequest_timeout_seconds = {ANSWER_SECONDS}\nqueue_seconds = {QUEUE_SECONDS}\n"
    "keepalive_seconds = 1\ncircuit_seconds = 2\n[engines]\ncontext_tokens = 512\nthreads = 1\n"
    "restart_limit = 100\n"  # who is killed while it starts is not to blame
)
HELLO = [{"role": "user", "content": "Hello?"}]
LONG = {"max_tokens": 80, "ignore_eos": True}
DOORS: Mapping[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": WRITER, "messages": HELLO, **LONG},
    "/v1/completions": {"model": WRITER, "prompt": "Once", **LONG},
    "/v1/messages": {"model": WRITER, "messages": HELLO, "max_tokens": 200},
    "/v1/responses": {"model": WRITER, "input": "Hello?", "max_output_tokens": 200},
    "/v1/embeddings": {"model": EMBEDDER, "input": ["a", "b", "c"]},
    "/v1/rerank": {"model": RANKER, "query": "cats", "documents": ["a kitten", "a car"]},
}
STREAMED = tuple(DOORS)[:4]
ENDS = ("[DONE]", "message_stop", "response.completed", "response.incomplete")
"""What the last event of a whole stream is called."""
FAILED = ("error", "response.failed")
LET_IN = {
    "engine_lost", "engine_failed", "engine_busy", "model_not_ready", "model_resting", "timeout", "gateway_stopping",
}  # fmt: skip
"""Codes of calls that were let in and failed later: they are counted."""
KEPT_OUT = {"rate_limit_exceeded", "gateway_full", "unavailable"}
"""Codes of calls that were not let in."""


def make_home(root: Path) -> Home:
    """A home with a writer, an embedder and a ranker, each served by a llama-server."""
    home = Home(root)
    for folder in (home.root, *home.folders):
        folder.mkdir(parents=True, exist_ok=True)
    registry = Registry(home.models)
    card = ensure_default(registry, lambda line: None)
    (home.models / RANKER).mkdir()
    os.link(registry.path(card), home.models / RANKER / card.files[0].name)
    ranker = card.with_(id=RANKER, tasks=("rerank",), pooling="rank")
    (home.models / RANKER / "card.json").write_text(ranker.model_dump_json())
    import_model(write_tiny_llama(home.root / "tiny.gguf", layers=2), registry, WRITER, tasks=("chat", "repair"))
    home.settings_file.write_text(SETTINGS)
    (home.policy / NGRAMS).touch()  # building it takes long, and the line, which reads it, does not run here
    return home


class Hung(Exception):
    """No end in time."""


@dataclass
class Client:
    """Calls one door with one key, again and again, and notes how each call ended."""

    url: str
    door: str
    stream: bool
    token: str
    key: str
    leaves: float = 0.0
    """Part of its calls that it breaks off itself."""
    ended: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    """Of whole answers, as they said."""
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)
    """What must not happen: hung calls, streams without an end, answers that are none."""
    chance: random.Random = field(default_factory=random.Random)

    @property
    def name(self) -> str:
        return f"{self.door}{' streamed' if self.stream else ''}"

    def use(self, stop: threading.Event) -> None:
        while not stop.is_set():
            if self.call() != "answered":
                stop.wait(0.05)

    def call(self) -> str:
        """One call; how it ended: answered, told (an error), refused (not let in), broken, left, unreached, hung."""
        began = time.monotonic()
        until = began + self.chance.uniform(0.0, 1.5) if self.chance.random() < self.leaves else None
        try:
            ended = self._ask(began, until)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            ended = "unreached"
        except (httpx.TimeoutException, Hung):
            ended = "hung"
            self.wrong.append(f"{self.name}: no end after {time.monotonic() - began:.0f} s")
        except httpx.TransportError:
            ended = "broken"
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.ended[ended] += 1
        return ended

    def _ask(self, began: float, until: float | None) -> str:
        body = {**DOORS[self.door], "stream": True} if self.stream else DOORS[self.door]
        headers = {"Authorization": f"Bearer {self.token}"}
        with (
            httpx.Client(base_url=self.url, headers=headers, timeout=LIMIT, trust_env=False) as http,
            http.stream("POST", self.door, json=body) as response,
        ):
            lines: list[str] = []
            for line in response.iter_lines():
                lines.append(line)
                if until is not None and time.monotonic() > until:
                    return "left"
                if time.monotonic() - began > LIMIT:
                    raise Hung
        if response.headers["content-type"].startswith("text/event-stream"):
            return self._end_of_stream([line for line in lines if line and not line.startswith(":")])
        return self._whole(response.status_code, "".join(lines))

    def _end_of_stream(self, lines: list[str]) -> str:
        last = lines[-1].removeprefix("data: ") if lines else ""
        made = json.loads(last) if last.startswith("{") else {}
        kind = str(made.get("type") or ("error" if "error" in made else last))
        if kind in ENDS:
            return "answered"
        if kind not in FAILED:
            self.wrong.append(f"{self.name}: a stream ended with {last[:200]!r}")
        self.codes[f"event {kind}"] += 1
        return "told"

    def _whole(self, status: int, text: str) -> str:
        made = json.loads(text)
        if status == 200:
            usage = made["usage"]
            spent = usage.get("total_tokens") or usage["input_tokens"] + usage["output_tokens"]
            self.tokens += spent + usage.get("cache_read_input_tokens", 0)
            if not any(made.get(part) is not None for part in ("choices", "content", "output", "data", "results")):
                self.wrong.append(f"{self.name}: an answer without an answer: {text[:200]}")
            return "answered"
        # The Messages API has no codes; what our text says is as good.
        code = made["error"].get("code") or code_of(status, made["error"]["message"])
        self.codes[f"{status} {code}"] += 1
        if code not in LET_IN | KEPT_OUT:
            self.wrong.append(f"{self.name}: {status} {text[:300]}")
        return "told" if code in LET_IN else "refused"


def code_of(status: int, message: str) -> str:
    """The code behind an error of the Messages API."""
    if status == 429:
        return "gateway_full" if "gateway is full" in message else "rate_limit_exceeded"
    if status == 503 and "cannot count" in message:
        return "unavailable"
    return {502: "engine_lost", 503: "model_not_ready", 504: "timeout"}.get(status, f"unknown: {message}")


class Storm:
    """The clients and the box they use."""

    def __init__(self, box: RunningBox, home: Home, seed: int, leaves: float = 0.0) -> None:
        self.box, self.home, self.chance = box, home, random.Random(seed)
        store = KeyStore(home.secrets / "keys.json")
        self.clients = []
        for n, (door, stream) in enumerate([*((door, False) for door in DOORS), *((door, True) for door in STREAMED)]):
            key, token = store.create(f"client-{n}", terms=Terms(limits=Limits(parallel=1)))
            url, chance = f"http://127.0.0.1:{box.gateway}", random.Random(seed + n)
            self.clients.append(Client(url, door, stream, token, key.id, leaves, chance=chance))
        self.killed: Counter[str] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=client.use, args=(self._stop,)) for client in self.clients]

    def begin(self) -> None:
        """Wait until each door answers, then let all clients loose."""
        for client in self.clients:
            assert eventually(lambda client=client: client.call() == "answered", 120), (client.name, client.codes)
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident:
                thread.join(2 * LIMIT)
                assert not thread.is_alive(), "a call hangs"

    def answered(self) -> int:
        return sum(client.ended["answered"] for client in self.clients)

    def start_box(self) -> None:
        self.box.start("--only", "engines,gateway")

    def kill(self, victim: str) -> None:
        """SIGKILL one process, which must be there, at a random moment once calls are answered again."""
        before = self.answered()
        assert eventually(lambda: self.answered() >= before + len(self.clients), 240), self.report()
        time.sleep(self.chance.uniform(0.0, 0.6))
        assert eventually(lambda: self._strike(victim), 120), f"no {victim} to kill: {self.box.said()}"
        self.killed[victim] += 1
        if victim == "box":
            assert self.box.process is not None
            self.box.process.wait()
            self.start_box()  # as the machine's own supervisor would

    def _strike(self, victim: str) -> bool:
        pids = VICTIMS[victim](self)
        with suppress(ProcessLookupError, IndexError):
            os.kill(self.chance.choice(pids), signal.SIGKILL)
            return True
        return False

    def settle(self) -> None:
        """All clients have ended: the box comes to rest by itself, answers each of them, and its counts are right."""
        with httpx.Client(base_url=self.clients[0].url, trust_env=False) as http:
            assert eventually(lambda: healthy(http), 60), self.box.said()
            assert eventually(lambda: not read_counts(self.home.spool).open, 30), "places of dead workers are kept"
            for client in self.clients:
                client.leaves = 0.0
                assert client.call() == "answered", (client.name, client.codes, client.wrong)
            counts = read_counts(self.home.spool)
            assert not counts.open and not counts.models
            metrics = http.get("/metrics").text
            assert "\nappliance_gateway_in_flight 0.0" in metrics and "\nappliance_gateway_waiting 0.0" in metrics
        self._check_clients()
        self._check_records()

    def _check_clients(self) -> None:
        """What each client saw against what is counted for its key."""
        counts = read_counts(self.home.spool)
        for client in self.clients:
            assert client.wrong == [], client.wrong
            count, ended = counts.key(client.key), client.ended
            certain = ended["answered"] + ended["told"]
            unsure = ended["broken"] + ended["left"]
            assert certain <= count.total.calls <= certain + unsure, (client.name, count.total, ended, client.codes)
            assert count.total.tokens >= client.tokens, (client.name, count.total, client.tokens)
            assert (count.open, count.open_tokens, count.open_milliseconds) == (0, 0, 0)

    def _check_records(self) -> None:
        """The counts against the records, summed up here in another way."""
        records = [json.loads(line) for line in (self.home.spool / FILE).read_text().splitlines()]
        if any(record[0] == SNAPSHOT for record in records):  # written anew: single calls are no longer there
            return
        let_in = {record[2]: record for record in records if record[0] == RESERVED}
        assert len(let_in) == sum(record[0] == RESERVED for record in records), "one number for two calls"
        used = {record[1]: record[2:5] for record in records if record[0] == PROGRESS}
        ended = Counter(record[2] for record in records if record[0] == ENDED)
        used |= {record[2]: record[3:6] for record in records if record[0] == ENDED}
        dead = {record[2] for record in records if record[0] == GONE}
        lost = {id for id, record in let_in.items() if record[5] in dead and id not in ended}
        assert set(ended) | lost == set(let_in) and max(ended.values()) == 1
        counts = read_counts(self.home.spool)
        for key in {record[3] for record in let_in.values()}:
            calls = [id for id, record in let_in.items() if record[3] == key]
            prompt, completion, spent = (sum(used.get(id, (0, 0, 0))[n] for id in calls) for n in range(3))
            total = counts.key(key).total
            assert (total.calls, total.prompt, total.completion, total.milliseconds) == (
                len(calls), prompt, completion, spent,
            )  # fmt: skip

    def report(self) -> str:
        rows = [
            f"{client.name:<32}{dict(client.ended)} slowest {client.slowest:.1f} s {dict(client.codes) or ''}"
            for client in self.clients
        ]
        return "\n".join([*rows, f"killed {dict(self.killed)}", *(w for client in self.clients for w in client.wrong)])


def healthy(http: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return http.get("/readyz").status_code == 200
    return False


def children(pid: int | None) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def engine_pids(home: Home, *models: str) -> list[int]:
    """The llama-servers that are published now: of these models, or all."""
    with suppress(OSError, ValueError):
        rows = json.loads((home.run / "engines.json").read_text())
        return [row["pid"] for row in rows if row["pid"] and (not models or row["model"] in models)]
    return []


def _pid(name: str) -> Callable[[Storm], list[int]]:
    return lambda storm: [pid] if (pid := storm.box.pid(name)) else []


VICTIMS: Mapping[str, Callable[[Storm], list[int]]] = {
    "box": lambda storm: [storm.box.process.pid] if storm.box.process else [],
    "llama-server": lambda storm: engine_pids(storm.home),
    "writer": lambda storm: engine_pids(storm.home, WRITER),
    "engines": _pid("engines"),
    "gateway": _pid("gateway"),
    "gateway worker": lambda storm: children(storm.box.pid("gateway")),
}
