"""Adapters: models of their own, served with their base, and those that come while it is loaded."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from appliance.config import Home
from appliance.errors import Conflict, LimitExceeded
from appliance.settings import Settings
from inference.engines.devices import Room
from inference.engines.engine import Engine, Seat
from inference.engines.needs import Need, Part, Wish
from inference.engines.pool import WAITING, Pool
from models.card import Card
from models.importing import import_model
from models.registry import Registry
from models.shape import Shape
from tests.inference.engines_process import until
from tests.inference.test_engines_pool import Sleepers, at_work, ready, row, running_pool
from tests.inference.tiny_folder import write_tiny_adapter, write_tiny_folder


@pytest.fixture
def with_adapter(home: Home, tmp_path: Path) -> Home:
    import_model(write_tiny_folder(tmp_path / "base", layers=1, width=64), Registry(home.models), "base")
    import_model(
        write_tiny_adapter(tmp_path / "style", layers=1, width=64), Registry(home.models), "style", base="base"
    )
    return home


class Tensors(Sleepers):
    """Sleepers for safetensors, whose processes show which adapters they were given."""

    formats = frozenset({"safetensors"})

    def argv(self, seat: Seat) -> tuple[str, ...]:
        return (*super().argv(seat), *(one.name for one in seat.adapters))


def test_an_adapter_is_a_model_of_its_own_served_with_its_base(with_adapter: Home) -> None:
    with at_work(with_adapter, Tensors()) as pool:
        assert pool.load("style")["model"] == "style"
        ready(pool, "base")
        base, style = row(pool, "base"), row(pool, "style")
        same = ("state", "pid", "url", "api_key_file", "context_tokens", "slots")
        assert [style[name] for name in same] == [base[name] for name in same]
        assert (style["served_as"], style["base"], style["ram_bytes"]) == ("style", "base", 0)
        assert psutil.Process(base["pid"]).cmdline()[-1] == "style"
        with pytest.raises(Conflict, match="served with base"):
            pool.unload("style")
        pool.unload("base")
        until(lambda: pool.rows() == [])


def test_an_adapter_that_comes_later_is_served_once_its_base_has_started_anew(
    with_adapter: Home, tmp_path: Path
) -> None:
    with at_work(with_adapter, Tensors()) as pool:
        pool.load("base")
        ready(pool, "base")
        before = row(pool, "base")["pid"]
        later = write_tiny_adapter(tmp_path / "later", layers=1, width=64, seed=9)
        import_model(later, Registry(with_adapter.models), "later", base="base")
        assert pool.load("later")["state"] != "ready"
        until(lambda: row(pool, "later")["state"] == "ready")
        after = row(pool, "base")
        assert after["pid"] != before and after["restarts"] == 0
        assert sorted(psutil.Process(after["pid"]).cmdline()[-2:]) == ["later", "style"]


def test_an_adapter_that_comes_anew_under_its_old_name_is_served_only_once_its_base_has_started_anew(
    with_adapter: Home, tmp_path: Path
) -> None:
    registry = Registry(with_adapter.models)
    with at_work(with_adapter, Tensors()) as pool:
        pool.load("style")
        before = ready(pool, "style")["pid"]
        registry.remove("style")
        until(lambda: [one["model"] for one in json.loads(pool.published.read_text())] == ["base"])
        anew = write_tiny_adapter(tmp_path / "anew", layers=1, width=64, rank=20, seed=9)
        import_model(anew, registry, "style", base="base")
        assert [one["model"] for one in pool.rows()] == ["base"], "its engine still has the old one"
        pool.load("style")
        until(lambda: row(pool, "style").get("state") == "ready" and row(pool, "style")["pid"] != before)
        (served,) = pool.seat("base").adapters
        assert served.sha256 == registry.get("style").sha256
        assert ready(pool, "base")["restarts"] == 0, "it was asked to, and did not fail"


class Growing(Tensors):
    """Every adapter makes its base larger by 1 GiB."""

    def need(self, card: Card, shape: Shape | None, wish: Wish, gpus: int) -> Need:
        extra = [Part("adapters", wish.adapters.at_once << 30, "told")] if wish.adapters else []
        return Need((Part("weights", 4 << 30, "told"), *extra))


def add_adapter(home: Home, folder: Path, id: str) -> None:
    import_model(write_tiny_adapter(folder / id, layers=1, width=64, seed=9), Registry(home.models), id, base="base")


@contextmanager
def with_room(home: Home, ram: int, kind: Engine | None = None) -> Iterator[Pool]:
    with running_pool(Pool(home, Settings(), [kind or Growing()], look=lambda: Room(ram, 16 << 30)), home) as pool:
        yield pool


def test_an_adapter_that_comes_later_and_does_not_fit_is_refused_with_the_sums_and_its_base_goes_on(
    with_adapter: Home, tmp_path: Path
) -> None:
    with with_room(with_adapter, 6 << 30) as pool:
        pool.load("base")
        before = ready(pool, "base")
        add_adapter(with_adapter, tmp_path, "later")
        sums = r"with later, base does not fit into memory: it needs about 6144 MiB; 61\d\d MiB are free, 512 MiB of"
        with pytest.raises(LimitExceeded, match=sums):
            pool.load("later")
        os.kill(before["pid"], signal.SIGKILL)
        until(lambda: row(pool, "base").get("restarts") == 1)
        after = ready(pool, "base")
        assert psutil.Process(after["pid"]).cmdline()[-1] == "style", "it starts again with what was measured"
        assert [one["model"] for one in pool.rows()] == ["base", "style"]


class AtWork(Growing):
    """The model `other` is at work."""

    work = True

    def busy(self, seat: Seat) -> bool:
        return self.work and seat.card.id == "other"


@contextmanager
def both_loaded(home: Home, folder: Path, kind: AtWork) -> Iterator[Pool]:
    """The base beside another model, with no room for more, and a new adapter."""
    import_model(write_tiny_folder(folder / "other", layers=1, width=64, seed=3), Registry(home.models), "other")
    with with_room(home, 10 << 30, kind) as pool:
        for id in ("base", "other"):
            pool.load(id)
            ready(pool, id)
        ready(pool, "base")  # it started anew with fewer threads
        add_adapter(home, folder, "later")
        yield pool


def test_an_adapter_that_comes_later_makes_others_leave_and_its_base_serves_until_they_have(
    with_adapter: Home, tmp_path: Path
) -> None:
    kind = AtWork()
    with both_loaded(with_adapter, tmp_path, kind) as pool:
        told = pool.load("later", keep=["other"])
        assert (told["model"], told["base"], told["wait_for"]) == ("later", "base", ["other"])
        assert told["state"] == WAITING
        told = pool.load("later")
        assert (told["model"], told["state"], told["reason"]) == ("later", "stopped", "waits until other has left")
        assert pool.load("later")["reason"] == told["reason"], "asked twice, it is one order"
        assert pool.load("base")["state"] == "ready"
        listed = [one["model"] for one in pool.rows()]
        assert sorted(listed) == ["base", "later", "other", "style"], "no model twice"
        kind.work = False
        assert ready(pool, "later")["pid"] == ready(pool, "base")["pid"]
        assert sorted(one["model"] for one in pool.rows()) == ["base", "later", "style"]
        assert row(pool, "base")["ram_bytes"] == 6 << 30


def test_unloading_a_base_gives_up_the_order_for_its_adapter(with_adapter: Home, tmp_path: Path) -> None:
    kind = AtWork()
    with both_loaded(with_adapter, tmp_path, kind) as pool:
        assert pool.load("later")["state"] == "stopped"
        assert pool.unload("base")["model"] == "base"
        kind.work = False
        until(lambda: pool.rows() == [])
