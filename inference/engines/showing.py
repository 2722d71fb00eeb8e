"""The models of the box as people look at them: each card with its engine, and what would fit. Nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.config import Home
from appliance.errors import FactoryError
from appliance.settings import Settings
from inference.engines.devices import read_room
from inference.engines.engine import Engine
from inference.engines.outlook import outlook
from inference.engines.seating import Seating
from models.card import Card
from models.copying import unfinished
from models.registry import Registry

NOT_LOADED = "not loaded"
Rows = Sequence[Mapping[str, Any]]
"""The loaded models, as `run/engines.json` tells them."""


class Showing:
    """Reads the registry anew at each question."""

    def __init__(self, home: Home, settings: Settings, kinds: Sequence[Engine]) -> None:
        self._home = home
        self._settings = settings
        self._kinds = kinds

    def models(self, rows: Rows) -> dict[str, Any]:
        """Every whole model with its `state`; what cannot be listed and why; imports that stopped half-way (bytes)."""
        registry = Registry(self._home.models)
        states = {row["model"]: row for row in rows}
        return {
            "models": [
                {**_told(card), "state": states.get(card.id, {}).get("state", NOT_LOADED)} for card in registry.list()
            ],
            "problems": list(registry.problems()),
            "unfinished": [unfinished(folder) for folder in registry.partials()],
        }

    def model(self, name: str, rows: Rows) -> dict[str, Any]:
        """One model (id or alias): its card, `path`, its `engine`'s row or None, and what would `fit`, or under
        `problem` in there why that is not known. Raises NotFound."""
        registry = Registry(self._home.models)
        card = registry.find(name)
        engine = next((_open(row) for row in rows if row["model"] == card.id), None)
        return {
            **_told(card),
            "path": str(registry.path(card)),
            "engine": engine,
            "fit": self._fit(registry, card, rows),
        }

    def _fit(self, registry: Registry, card: Card, rows: Rows) -> dict[str, Any]:
        seating = Seating(registry, self._settings, self._kinds, self._home.run / "engines")
        try:
            return outlook(seating.candidate(card), read_room(), rows)
        except FactoryError as error:
            return {"problem": f"{error.message} ({error.hint})"}


def _open(row: Mapping[str, Any]) -> dict[str, Any]:
    """Where an engine's key lies is nobody's business."""
    return {key: value for key, value in row.items() if key != "api_key_file"}


def _told(card: Card) -> dict[str, Any]:
    return card.model_dump(mode="json")
