"""What the files of the home say now: keys, rules, models, loaded engines. Read again when they change.

A rules file that cannot be used never replaces the rules in force. When there are none in force yet, every call that
needs a rule is refused with the reason: a broken file must not open what it was written to close.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from appliance.config import Home
from appliance.errors import ConfigError, FactoryError, Unavailable
from appliance.keys import KeyRing
from appliance.settings import ModelSettings, Settings
from inference import rules as rules_file
from inference.catalogue import Catalogue, Entry
from inference.engines.placement import context_of
from inference.keys import Key, KeyStore
from inference.policy import Learned, Standing, now, read_policy
from inference.rules import Rules
from models.card import Card
from models.registry import Registry

log = logging.getLogger("inference.gateway")

LOOK_SECONDS = 0.25
"""Pause between looks at rules and models. Keys and engines are looked at before every call."""
SUSPECT_SECONDS = 1.0
"""How long an engine that did not answer is left alone unless its row changes: the file is behind by a moment."""

T = TypeVar("T")


class Fresh(Generic[T]):
    """A value read from files, read again when their mark has changed, looked at no more often than `every` seconds."""

    def __init__(self, mark: Callable[[], object], read: Callable[[], T], every: float = 0.0) -> None:
        self._mark = mark
        self._read = read
        self._every = every
        self._looked = -1e9
        self._seen: object = self
        self._value: T

    def get(self) -> T:
        """The value now. Whatever reading raises is raised, and it is read again next time."""
        now = time.monotonic()
        if now - self._looked < self._every:
            return self._value
        mark = self._mark()
        if mark != self._seen:
            self._value = self._read()
            self._seen = mark
        self._looked = now
        return self._value


def mark_of(file: Path) -> tuple[int, int, int] | None:
    """Changes whenever the file is replaced or written; None while there is none."""
    try:
        stat = os.stat(file)  # noqa: PTH116 - half the time of Path.stat, several times a call
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


@dataclass(frozen=True)
class Row:
    """One loaded model, as the engines process published it."""

    model: str
    state: str
    reason: str
    parked: bool
    """Failed, and nobody will try again by himself."""
    url: str
    key_file: str
    served_as: str
    """The name by which its engine knows it."""
    ca_file: str
    """The CA that vouches for the engine; empty for the machine's, or where nothing is encrypted."""
    mark: tuple[Any, ...]
    """Changes when the engine is started anew."""
    slots: int = 0
    """Calls it works on at once; 0 when it does not say."""
    engine: str = ""
    """What kind of engine it is: llama.cpp, vllm, remote."""


@dataclass(frozen=True)
class InForce:
    """The rules in force, or why there are none; and what is wrong with the file now."""

    rules: Rules | None
    problem: FactoryError | None


class Surroundings:
    """Everything a call needs to know of the home."""

    def __init__(self, home: Home, settings: Settings, refused: Callable[[], None] = lambda: None) -> None:
        """`refused` is called for every rules file that is not taken over."""
        self._registry = Registry(home.models)
        self._cap = settings.engines.context_tokens
        self._models = settings.models
        self._routes = home.routes_file
        self._policy_days = settings.gateway.policy_days
        self._told = ""
        self._refused = refused
        self._engines_file = home.run / "engines.json"
        self._in_force: Rules | None = None
        self._from_file = False
        self._suspects: dict[str, tuple[tuple[Any, ...], float]] = {}
        self._tokens: dict[str, Fresh[str]] = {}
        store = KeyStore(home.secrets / "keys.json")
        self._keys = Fresh(lambda: mark_of(store.file), lambda: KeyRing(store.list()))
        self._catalogue = Fresh(self._registry.generation, self._read_catalogue, LOOK_SECONDS)
        self._rules = Fresh(
            lambda: (mark_of(self._routes), self._registry.generation()), self._read_rules, LOOK_SECONDS
        )
        self._learned = Fresh(lambda: mark_of(home.policy_file), lambda: read_policy(home.policy_file), LOOK_SECONDS)
        self._rows = Fresh(lambda: mark_of(self._engines_file), self._read_rows)

    @property
    def keys(self) -> KeyRing[Key]:
        """Raises VerificationFailed when the file is damaged."""
        return self._keys.get()

    @property
    def catalogue(self) -> Catalogue:
        return self._catalogue.get()

    @property
    def rules(self) -> Rules:
        """The rules in force. Raises ConfigError when there are none."""
        found = self._rules.get()
        if found.rules is None:
            assert found.problem is not None
            raise found.problem
        return found.rules

    @property
    def stale(self) -> bool:
        """Whether the rules in force are older than the file, which cannot be used; or whether there are none."""
        return self._rules.get().problem is not None

    @property
    def learned(self) -> Learned:
        """The policy, or why there is none to use."""
        found = self._learned.get().at(now(), self._policy_days)
        if found.why != self._told:
            self._told = found.why
            broken = found.standing in (Standing.BROKEN, Standing.OLD)
            log.log(logging.ERROR if broken else logging.INFO, "policy: %s", found.why or "in use")
        return found

    def card(self, model: str) -> Entry | None:
        """What is known of a model."""
        return self.catalogue.find(model)

    def problems(self) -> list[str]:
        """What keeps the gateway from being ready, in words."""
        found = []
        for look in (lambda: self.keys, lambda: self.catalogue, lambda: self.rules):
            try:
                look()
            except FactoryError as error:
                found.append(f"{error.message}. {error.hint}")
        if mark_of(self._engines_file) is None:
            found.append("the engines process has not started yet")
        return found

    def engine(self, model: str) -> Row | None:
        """The model's row; None while it has none, or while its engine just failed to answer and nothing changed."""
        row = self._rows.get().get(model)
        mark, until = self._suspects.get(model, ((), 0.0))
        if row is None or (row.mark == mark and time.monotonic() < until):
            return None
        self._suspects.pop(model, None)
        return row

    def engines(self) -> dict[str, Row]:
        """All rows."""
        return self._rows.get()

    def suspect(self, row: Row) -> None:
        """This engine did not answer: leave it alone until it is started anew, or for a moment."""
        self._suspects[row.model] = (row.mark, time.monotonic() + SUSPECT_SECONDS)

    def token(self, row: Row) -> str:
        """The key the engine wants. Raises Unavailable when it cannot be read."""
        if not row.key_file:
            return ""
        file = Path(row.key_file)
        try:
            return self._tokens.setdefault(
                row.key_file, Fresh(lambda: mark_of(file), lambda: file.read_text(encoding="ascii").strip())
            ).get()
        except OSError as error:
            raise Unavailable(
                f"cannot read the engine's key {file}: {error.strerror}", "restart the engines"
            ) from error

    def warnings(self) -> list[str]:
        """What is wrong though calls are answered, in words: rules that were not taken over, a policy of no use."""
        state, learned = self._rules.get(), self.learned
        found = []
        if state.problem is not None and state.rules is not None:
            found.append(f"the rules before stay in force: {state.problem.message}. {state.problem.hint}")
        if learned.standing in (Standing.BROKEN, Standing.OLD):
            found.append(f"rules decide alone: {learned.why}")
        return found

    def _read_catalogue(self) -> Catalogue:
        return Catalogue(Entry.of(card, self._context(card)) for card in self._registry.list())

    def _context(self, card: Card) -> int:
        """Tokens of one request to this model, as its engine is started."""
        own = self._models.get(card.id, ModelSettings())
        return context_of(card, own.context_tokens or self._cap)

    def _read_rules(self) -> InForce:
        try:
            if self._in_force is not None and self._from_file and not self._routes.exists():
                raise ConfigError(
                    f"the rules file {self._routes} is gone",
                    "put it back, or restart the gateway to go by the default rules",
                )
            self._in_force = rules_file.load(self._routes, self._read_catalogue())
            self._from_file = self._routes.exists()
        except ConfigError as error:
            self._refused()
            log.error("rules not taken over: %s (%s)", error.message, error.hint)
            return InForce(self._in_force, error)
        return InForce(self._in_force, None)

    def _read_rows(self) -> dict[str, Row]:
        try:
            rows = json.loads(self._engines_file.read_bytes())
            return {row["model"]: row_of(row) for row in rows}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("%s cannot be used: %s", self._engines_file, error)
            return {}


def row_of(row: dict[str, Any]) -> Row:
    """A row of `run/engines.json`."""
    return Row(
        model=str(row["model"]),
        state=str(row["state"]),
        reason=str(row.get("reason") or ""),
        parked=row["state"] == "failed" and row.get("next_try") is None,
        url=str(row.get("url") or ""),
        key_file=str(row.get("api_key_file") or ""),
        served_as=str(row.get("served_as") or row["model"]),
        ca_file=str(row.get("ca_file") or ""),
        mark=(row.get("pid"), row.get("url"), row.get("restarts"), row["state"], row.get("since")),
        slots=int(row.get("slots") or 0),
        engine=str(row.get("engine") or ""),
    )
