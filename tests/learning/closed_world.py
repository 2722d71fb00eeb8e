"""A world to learn in: three repositories, items of known difficulty, and three models of known strengths.

The models are real HTTP servers on this machine, behind a real engines process and a real gateway. What they answer is
decided by seed, model and item alone, so a run can be repeated and its right figures are known beforehand. The line is
played: it asks the router, tries the candidates in their order as the build stage does, and tells the ledger what the
stages would tell.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from appliance.__main__ import main
from appliance.config import Home
from appliance.events import STAGE_FACTS, Event
from appliance.gateway_client import GatewayModel
from appliance.learning.door import Door
from appliance.learning.policies import Policies
from appliance.learning.service import Learning
from appliance.learning.watching import watch
from appliance.ledger import Ledger, open_ledger
from appliance.line import signal as opening
from appliance.work import Signal, TrackedRepository
from models.registry import Registry
from models.remote import add_remote
from tests.http_serving import Said, model_serving
from tests.inference.engines_process import make_home, running_engines, until
from tests.inference.gateway_process import free_port, running_gateway

SECONDS: Mapping[str, float] = {"small": 0.002, "middle": 0.008, "large": 0.032}
"""What one answer takes: the cost of a model, in model-seconds."""
STRENGTH: Mapping[str, Mapping[str, float]] = {
    "small": {"shop": 0.95, "wms": 0.35, "core": 0.10},
    "middle": {"shop": 0.96, "wms": 0.95, "core": 0.30},
    "large": {"shop": 0.97, "wms": 0.96, "core": 0.95},
}
"""The share of a repository's items that a model mends."""
REPOSITORIES = ("shop", "wms", "core")
WORDS: Mapping[str, Sequence[str]] = {
    "shop": ("cart", "price", "discount", "checkout", "label", "shipping"),
    "wms": ("pallet", "bin", "picking", "reservation", "stock", "wave"),
    "core": ("scheduler", "lock", "cache", "retry", "parser", "index"),
}
ANSWER_TOKENS = 120
RULE = "repair"
ROUTES = f"""
[[rule]]
name = "{RULE}"
when = {{ task = ["repair"] }}
candidates = ["large", "middle", "small"]
learning = "apply"
"""


def mends(seed: int, model: str, repo: str, title: str, strength: Mapping[str, Mapping[str, float]] = STRENGTH) -> bool:
    """Does this model mend this item? The same for the same seed, whoever asks and when."""
    drawn = int.from_bytes(hashlib.sha256(f"{seed} {model} {title}".encode()).digest()[:8], "big") / 2**64
    return drawn < strength[model][repo]


@dataclass
class ModelServer:
    """One model on the network. `strength` may change while it runs: a model can get worse."""

    name: str
    seed: int
    strength: dict[str, Mapping[str, float]]
    url: str = ""
    calls: int = 0
    prompt_tokens: int = 0

    def answer(self, body: Mapping[str, Any]) -> Said:
        text = "\n".join(message["content"] for message in body["messages"])
        prompt, said = len(text) // 4, "ready"
        if text.startswith("IN "):  # everything else only asks whether it is there
            repo, title = text.removeprefix("IN ").split("\n")[:2]
            self.calls += 1
            self.prompt_tokens += prompt
            time.sleep(SECONDS[self.name])
            said = "MENDED" if mends(self.seed, self.name, repo, title, self.strength) else "not mended"
        return said, prompt, ANSWER_TOKENS


@dataclass(frozen=True)
class Figures:
    """What a stretch of items came to."""

    items: int
    solved: int
    mendable: int
    """Those that at least one model mends; of the others no order of models can make anything."""
    calls: Mapping[str, int]

    @property
    def cost(self) -> float:
        """Model-seconds an item, as the models are made."""
        return sum(SECONDS[name] * count for name, count in self.calls.items()) / self.items

    @property
    def share(self) -> float:
        """Of the items that a model mends, those that were solved."""
        return self.solved / self.mendable

    def row(self, name: str) -> str:
        calls = "".join(f"{self.calls.get(model, 0):>8}" for model in SECONDS)
        solved = f"{self.items:>6}{self.mendable:>10}{self.solved:>8}{100 * self.share:>8.1f} %"
        return f"{name:<26}{solved}{calls}{1000 * self.cost:>12.2f}"


HEADER = f"{'':<26}{'items':>6}{'mendable':>10}{'solved':>8}{'':>10}"
HEADER += "".join(f"{model:>8}" for model in SECONDS) + f"{'ms an item':>12}"


@dataclass
class World:
    """Everything running, and the played line."""

    home: Home
    ledger: Ledger
    gateway: GatewayModel
    models: dict[str, ModelServer]
    seed: int
    dice: random.Random
    number: int = 0
    said: list[tuple[str, Figures]] = field(default_factory=list)

    def stretch(self, name: str, count: int) -> Figures:
        """Work off some new items; their figures."""
        before = {model: server.calls for model, server in self.models.items()}
        worked = [self.work() for _ in range(count)]
        calls = {model: server.calls - before[model] for model, server in self.models.items()}
        figures = Figures(count, sum(right for right, _ in worked), sum(mendable for _, mendable in worked), calls)
        self.said.append((name, figures))
        return figures

    @contextmanager
    def exploring(self, share: float) -> Iterator[None]:
        """Another gateway of this home meanwhile, which tries other candidates first for this share of the items."""
        settings, usual = self.home.settings_file.read_text(), self.gateway
        wanted = [f"port = {free_port()}", f"explore_share = {share}", f"explore_seed = {self.seed}"]
        lines = ["[gateway]", *wanted, *settings.splitlines()[2:]]
        self.home.settings_file.write_text("\n".join(lines))
        try:
            with running_gateway(self.home) as door:
                self.gateway = GatewayModel(door.url, door.key)
                try:
                    yield
                finally:
                    self.gateway.close()
        finally:
            self.gateway = usual
            self.home.settings_file.write_text(settings)

    def table(self) -> str:
        """All stretches so far."""
        return "\n".join([HEADER, *(figures.row(name) for name, figures in self.said)])

    def item(self) -> Signal:
        """A new report."""
        self.number += 1
        repo = self.dice.choice(REPOSITORIES)
        words = self.dice.sample(WORDS[repo], 3)
        body = f"The {words[1]} of the {words[2]} is wrong since the last release."
        return self.ledger.receive(Signal(id="", repo=repo, title=f"{words[0]} {self.number} is wrong", body=body))

    def work(self) -> tuple[bool, bool]:
        """One item along the line; was it mended, and does any model mend it?"""
        signal = self.item()
        item = self.ledger.open_item(signal.id, opening.run(signal))
        route = self.gateway.route(
            task="repair", stage="build", language="python", repo=item.repo, severity=3, attempt=1,
            prompt_tokens=len(f"{item.title}{item.body}") // 4,
        )  # fmt: skip
        facts: dict[str, Any] = {"rule": route.rule, "candidates": route.candidates, "route": route.reasons}
        winner = ""
        for n, name in enumerate(route.candidates, start=1):
            messages = [{"role": "user", "content": f"IN {item.repo}\n{item.title}\n{item.body}"}]
            said = self.gateway.chat(messages, task="repair", model=name, episode=item.id)
            right = said.text == "MENDED"
            facts[f"attempt {n}"] = {
                "strategy": "droid", "model": name, "outcome": "plausible" if right else "none", "tried": 1,
                "plausible": int(right), "seconds": round(said.seconds, 4), "sandbox": "played", "detail": "",
            }  # fmt: skip
            if right:
                winner = name
                break
        self.told(item.id, "build", "planned", "built" if winner else "needs_human", facts)
        if winner:
            self.told(
                item.id, "ship", "secured", "shipped", {"commit": hashlib.sha256(item.id.encode()).hexdigest()[:40]}
            )
            learned = {
                "repo": item.repo, "strategy": "droid", "model": winner, "origin": winner, "attempts": n,
                "candidates_tried": n, "build_seconds": 0.1, "without_a_person": True, "seconds_from_signal": 1.0,
            }  # fmt: skip
            self.told(item.id, "learn", "monitored", "closed", learned)
        models = self.models.items()
        return bool(winner), any(mends(self.seed, id, item.repo, item.title, one.strength) for id, one in models)

    def told(self, item: str, stage: str, before: str, after: str, facts: Mapping[str, Any]) -> None:
        """What the end of a stage tells the ledger."""
        payload = {"stage": stage, "from": before, "to": after, "reason": "played", "by": "rule", "wall_seconds": 0.1,
                   "facts": facts}  # fmt: skip
        self.ledger.append(Event(kind=STAGE_FACTS[stage], subject=item, payload=payload))


@contextmanager
def running_world(folder: Path, seed: int, settings: str = "") -> Iterator[World]:
    """The three models, the engines process, the gateway and the ledger."""
    door = f"[gateway]\nport = {free_port()}\nqueue_seconds = 20\n[engines]\nthreads = 2\ncontext_tokens = 4096\n"
    home = make_home(folder, door + settings)
    (home.secrets / "audit.key").write_bytes(random.Random(seed).randbytes(32))
    home.routes_file.write_text(ROUTES)
    models = {name: ModelServer(name, seed, dict(STRENGTH)) for name in SECONDS}
    with ExitStack() as stack:
        for name, model in models.items():
            model.url = stack.enter_context(model_serving(name, model.answer))
            add_remote(Registry(home.models), name, model.url, name, "", "", ("chat", "repair"), (), 4096)
        ledger = open_ledger(home)
        stack.callback(ledger.close)
        for name in REPOSITORIES:
            ledger.add_repository(TrackedRepository(name=name, url=f"file:///srv/{name}.git", branch="main"))
        engines = stack.enter_context(running_engines(home))
        for name in models:
            engines.ready(name)
        door_of = stack.enter_context(running_gateway(home))
        model = GatewayModel(door_of.url, door_of.key)
        stack.callback(model.close)
        yield World(home, ledger, model, models, seed, random.Random(seed))


class Loop(NamedTuple):
    """What a whole loop came to: the rules alone, the policy that was learned, and models that got worse under it."""

    before: Figures
    after: Figures
    worse: Figures
    why: str
    """What was said as the policy was rolled back; empty when it was not."""
    policy: int
    """The version in use at the end; 0 for none."""


def played(world: World, learning: Learning, items: int) -> Loop:
    """The whole loop, in stretches of so many items."""
    before = world.stretch("by the rules alone", items)
    with world.exploring(0.5):
        world.stretch("half of it exploring", 6 * items)  # enough outcomes of each model in each repository
    learning.catch_up()
    with Door(world.home, learning.answer):
        told(world, "promote", str(told(world, "train")["published"]))
    until(lambda: any(first(world, repo) != "large" for repo in REPOSITORIES), 30)  # the gateway looks now and then
    after = world.stretch("by what was learned", items)
    learning.catch_up()
    policies, ask = Policies(world.home, world.ledger), learning._store.ask
    assert watch(policies, world.ledger, ask, 10.0) == "", "nothing has got worse yet"
    for name in ("small", "middle"):
        world.models[name].strength[name] = {**STRENGTH[name], "shop": 0.1, "wms": 0.1}
    worse, why = world.stretch("the cheap ones got worse", items), ""
    for _ in range(5):  # how soon it shows hangs on which orders were learned
        learning.catch_up()
        if why := watch(policies, world.ledger, ask, 10.0):
            break
        world.stretch("and it goes on", items)
    if why:
        until(lambda: all(first(world, repo) == "large" for repo in REPOSITORIES), 30)
        world.stretch("rolled back", items)
    return Loop(before, after, worse, why, policies.current())


def told(world: World, *words: str) -> dict[str, Any]:
    """What a command of a person answers."""
    with redirect_stdout(io.StringIO()) as said:
        assert main(["--home", str(world.home.root), "--json", "learn", *words]) == 0
    answer: dict[str, Any] = json.loads(said.getvalue())
    return answer


def first(world: World, repo: str) -> str:
    """Whom the router would ask first."""
    return world.gateway.route(task="repair", stage="build", language="python", repo=repo, severity=3).candidates[0]
