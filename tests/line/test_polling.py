"""Mirrors are polled each in its own time, by few threads, and nothing that was heard is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from appliance.config import Home
from appliance.errors import FactoryError, PolicyRefused, Unavailable
from appliance.ledger import Ledger, open_ledger
from appliance.line.pace import pause
from appliance.line.polling import Poller, Round, server_of
from appliance.mirror.mirror import Mirror
from appliance.news import Delivery, IssueNews, News
from appliance.settings import LineSettings, MirrorSettings
from appliance.work import MirrorHealth, Origin, TrackedRepository
from tests.e2e.world import git, remote, until
from tests.ledger.world import SteppedClock

SETTINGS = LineSettings()
NEWS = IssueNews(action="edited", origin=Origin(number="7"), title="slug keeps blanks", labels=("factory",))


class Copies:
    """Mirrors that do as they are told: `behind` may be True, an error, or an event to wait for."""

    def __init__(self) -> None:
        self.does: dict[str, Any] = {}
        self.fetched: Counter[str] = Counter()
        self.removed: list[str] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def of(self, tracked: TrackedRepository) -> Copied:
        return Copied(self, tracked.name)


class Copied:
    def __init__(self, copies: Copies, name: str) -> None:
        self.copies, self.name = copies, name

    def behind(self) -> bool:
        self.copies.meanwhile()
        does = self.copies.does.get(self.name, False)
        if isinstance(does, threading.Event):
            does.wait(60)
            return False
        if isinstance(does, FactoryError):
            raise does
        self.copies.fetched[self.name] += 1
        return bool(does)

    def examine(self, before: MirrorHealth) -> MirrorHealth:
        return before.with_(fetched=CLOCK.now(), tried=CLOCK.now(), failures=0, error="", hint="", head="a" * 40)

    def remove(self) -> None:
        self.copies.removed.append(self.name)


class Forge:
    """A forge that tells the news it is given, once its cursor is asked from."""

    def __init__(self) -> None:
        self.tells: dict[str, tuple[tuple[News, ...], str] | FactoryError] = {"": ((), "c0")}
        self.asked: list[str] = []

    def news(self, cursor: str) -> tuple[tuple[News, ...], str]:
        self.asked.append(cursor)
        told = self.tells.get(cursor, ((), cursor))
        if isinstance(told, FactoryError):
            raise told
        return told


CLOCK = SteppedClock()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(tmp_path / "ledger.db")
    opened.clock = CLOCK
    yield opened
    opened.close()


def add(ledger: Ledger, name: str, forge: str = "plain", host: str = "git.example") -> None:
    ledger.add_repository(TrackedRepository(name=name, url=f"https://{host}/{name}.git", branch="main", forge=forge))


def poller(ledger: Ledger, copies: Copies, forge: Forge | None = None, settings: LineSettings = SETTINGS) -> Poller:
    told: Any = forge or Forge()
    return Poller(ledger, copies.of, lambda _: told, settings, Random(1))


def next_round(polls: Poller) -> Round | None:
    """The round that a thread would take now, once all that are there were looked at."""
    polls._looked = float("-inf")
    polls._changed.wait = lambda timeout=None: True  # type: ignore[method-assign]
    return polls._take()


def take(polls: Poller) -> None:
    """One thread's next turn, if one is due."""
    taken = next_round(polls)
    assert taken is not None, "nothing is due"
    polls.turn(taken)
    polls._give_back(taken)


def due_in(polls: Poller, name: str) -> float:
    return polls._rounds[name].due - CLOCK.monotonic()


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_the_pause_grows_with_failures_and_shrinks_after_something_new(chance: float) -> None:
    usual = pause(SETTINGS, 0, False, False, chance)
    assert 54 <= usual <= 66
    assert pause(SETTINGS, 0, False, True, chance) == usual / 4
    assert 800 <= pause(SETTINGS, 0, True, True, chance) <= 1000, "webhooks tell: no hurry"
    grown = [pause(SETTINGS, failures, True, True, chance) for failures in range(1, 12)]
    assert grown == sorted(grown) and grown[1] == 2 * grown[0] and 2700 <= grown[-1] <= 4500
    assert pause(SETTINGS, 1, False, False, chance, "try again in 9000 s") == 9000


def test_a_push_is_seen_by_the_next_poll_and_an_idle_mirror_is_only_listed(tmp_path: Path, home: Home) -> None:
    bare = remote(tmp_path, "shop", {"shop.py": "PRICE = 1\n"})
    ledger = open_ledger(home)
    tracked = TrackedRepository(name="shop", url=bare.as_uri(), branch="main")
    ledger.add_repository(tracked)
    polls = Poller(ledger, lambda t: Mirror.of(home, t, MirrorSettings()), lambda _: None, SETTINGS)  # type: ignore[arg-type,return-value]
    taken = next_round(polls)
    assert taken is not None
    polls.turn(taken)
    first = ledger.forges.health("shop")
    assert first.fetched and first.next_fetch and first.head == git(bare, "rev-parse", "main")
    assert first.branches == 1 and first.size_bytes > 0
    fetches = (home.mirrors / "shop.git" / "packed-refs").exists()
    taken.fetch_at = 0
    polls.turn(taken)
    idle = ledger.forges.health("shop")
    assert idle.fetched and idle.fetched > first.fetched and idle.changed == first.changed
    assert (home.mirrors / "shop.git" / "packed-refs").exists() == fetches
    git(tmp_path / "shop-tree", "commit", "-q", "--allow-empty", "-m", "more")
    git(tmp_path / "shop-tree", "push", "-q", "origin", "main")
    taken.fetch_at = 0
    polls.turn(taken)
    after = ledger.forges.health("shop")
    assert after.head == git(bare, "rev-parse", "main") != first.head
    assert after.changed and first.changed and after.changed > first.changed
    ledger.close()


def test_a_server_that_is_away_is_asked_less_and_less_and_its_return_is_noticed(ledger: Ledger) -> None:
    add(ledger, "shop")
    copies = Copies()
    copies.does["shop"] = Unavailable("nobody answers", "is it up?")
    polls = poller(ledger, copies)
    pauses = []
    for failures in (1, 2, 3):
        take(polls)
        health = ledger.forges.health("shop")
        assert (health.failures, health.error, health.hint) == (failures, "nobody answers", "is it up?")
        pauses.append(due_in(polls, "shop"))
        assert health.next_fetch and abs((health.next_fetch - CLOCK.now()).total_seconds() - pauses[-1]) < 1
        CLOCK.pass_(pauses[-1])
    assert pauses[0] < pauses[1] < pauses[2]
    again = poller(ledger, copies)
    CLOCK.pass_(-1)
    assert next_round(again) is None, "a restart of the box asks no sooner"
    CLOCK.pass_(2)
    copies.does.clear()
    take(polls)
    back = ledger.forges.health("shop")
    assert (back.failures, back.error, back.fetched) == (0, "", CLOCK.now())


def test_news_are_on_disk_before_the_cursor_moves_and_a_kill_between_loses_and_doubles_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(ledger, "shop", "gitea")
    forge = Forge()
    forge.tells["c0"] = ((NEWS,), "c1")
    polls = poller(ledger, Copies(), forge)
    take(polls)
    assert ledger.forges.cursor("shop") == "c0"
    CLOCK.pass_(100)
    with monkeypatch.context() as killed:
        killed.setattr(ledger.forges, "set_cursor", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            take(polls)
    assert [one.source for one in ledger.deliveries.list()] == ["poll"] and ledger.forges.cursor("shop") == "c0"
    take(poller(ledger, Copies(), forge))
    assert len(ledger.deliveries.list()) == 1 and ledger.forges.cursor("shop") == "c1"
    assert forge.asked == ["", "c0", "c0"]


def test_a_forge_that_refuses_the_token_does_not_slow_the_fetching(ledger: Ledger) -> None:
    add(ledger, "shop", "gitea")
    forge, copies = Forge(), Copies()
    forge.tells[""] = PolicyRefused("the token is not accepted", "make a new one")
    polls = poller(ledger, copies, forge)
    for _ in range(4):
        take(polls)
        CLOCK.pass_(max(0.0, polls._rounds["shop"].fetch_at - CLOCK.monotonic()))
    health = ledger.forges.health("shop")
    assert copies.fetched["shop"] == 4 and len(forge.asked) < 4
    assert (health.failures, health.error, health.api_error) == (0, "", "the token is not accepted")
    assert health.api_hint == "make a new one" and health.api_failures == len(forge.asked)


def test_while_webhooks_arrive_it_polls_seldom_and_again_often_when_one_was_missed(ledger: Ledger) -> None:
    add(ledger, "shop", "gitea")
    copies = Copies()
    polls = poller(ledger, copies)
    take(polls)
    CLOCK.pass_(due_in(polls, "shop"))
    ledger.deliveries.take(Delivery(source="alertmanager", repo="shop", id="1"), b"{}")
    take(polls)
    assert due_in(polls, "shop") < 100, "an alert is no webhook of the forge"
    CLOCK.pass_(100)
    ledger.deliveries.take(Delivery(source="gitea", repo="shop", id="1"), b"{}")
    take(polls)
    assert due_in(polls, "shop") > 800
    CLOCK.pass_(1000)
    copies.does["shop"] = True
    take(polls)
    assert due_in(polls, "shop") < 100, "a push came that no webhook told"
    ledger.deliveries.take(Delivery(source="gitea", repo="shop", id="2"), b"{}")
    CLOCK.pass_(100)
    copies.does.clear()
    take(polls)
    assert due_in(polls, "shop") > 800
    CLOCK.pass_(timedelta(days=2).total_seconds())
    take(polls)
    assert due_in(polls, "shop") < 100, "none came for two days"


def test_a_webhook_makes_it_fetch_at_once_also_while_it_fetches(ledger: Ledger) -> None:
    add(ledger, "shop")
    copies = Copies()
    polls = poller(ledger, copies)
    take(polls)
    assert next_round(polls) is None
    polls.wake(ledger.repository("shop"))
    taken = next_round(polls)
    assert taken is not None
    polls.wake(ledger.repository("shop"))
    polls.turn(taken)
    polls._give_back(taken)
    take(polls)
    assert copies.fetched["shop"] == 3 and next_round(polls) is None


def test_a_repository_that_was_removed_while_it_was_fetched_leaves_nothing_behind(ledger: Ledger) -> None:
    add(ledger, "shop")
    copies = Copies()
    polls = poller(ledger, copies)
    taken = next_round(polls)
    assert taken is not None
    copies.meanwhile = lambda: ledger.remove_repository("shop")
    polls.turn(taken)
    assert copies.removed == ["shop"] and ledger.forges.all_health() == {}
    polls._give_back(taken)
    assert next_round(polls) is None and polls._rounds == {}


def test_a_repository_that_is_gone_when_its_turn_comes_is_dropped_without_haste(ledger: Ledger) -> None:
    add(ledger, "shop")
    copies = Copies()
    polls = poller(ledger, copies)
    taken = next_round(polls)
    assert taken is not None
    ledger.remove_repository("shop")
    polls.turn(taken)
    assert taken.due > CLOCK.monotonic() and not copies.fetched and copies.removed == []


def test_a_server_that_hangs_holds_up_nobody_else_and_later_takes_one_thread_alone(ledger: Ledger) -> None:
    release = threading.Event()
    copies = Copies()
    for number in range(6):
        add(ledger, f"stuck-{number}", host="hangs.example")
        copies.does[f"stuck-{number}"] = release
    for number in range(6):
        add(ledger, f"well-{number}")
    polls = poller(ledger, copies, settings=LineSettings(fetches=4))
    stop = threading.Event()
    threads = polls.start(stop)
    try:
        until(lambda: sum(copies.fetched.values()) >= 6, "the other server's are fetched")
        assert polls._taken["hangs.example"] == 2
    finally:
        stop.set()
        release.set()
        for thread in threads:
            thread.join(30)
    polls._silent.add("hangs.example")
    polls._taken.clear()
    assert polls._may("hangs.example")
    polls._taken["hangs.example"] = 1
    assert not polls._may("hangs.example") and polls._may("git.example")


def test_many_repositories_take_as_many_threads_as_few(ledger: Ledger) -> None:
    many = [TrackedRepository(name=f"r{number}", url=f"/srv/r{number}", branch="main") for number in range(100)]
    with ledger.database.writing() as connection:
        for one in many:
            connection.exec_driver_sql("INSERT INTO repositories VALUES (?, ?)", (one.name, one.model_dump_json()))
    copies = Copies()
    before = threading.active_count()
    polls = poller(ledger, copies, settings=LineSettings(fetches=3))
    stop = threading.Event()
    threads = polls.start(stop)
    try:
        assert len(threads) == 3 == threading.active_count() - before
        until(lambda: len(copies.fetched) == len(many), "each had its turn")
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert set(copies.fetched.values()) == {1}


def test_one_repository_s_fault_does_not_end_the_polling_of_others(ledger: Ledger) -> None:
    add(ledger, "broken")
    add(ledger, "shop")
    copies = Copies()
    polls = poller(ledger, copies, settings=LineSettings(fetches=1))
    sound, polls._mirror_of = polls._mirror_of, lambda tracked: sound(tracked) if tracked.name == "shop" else None  # type: ignore[assignment,return-value]
    stop = threading.Event()
    (thread,) = polls.start(stop)
    until(lambda: copies.fetched["shop"], "the sound one is fetched")
    stop.set()
    thread.join(30)
    assert polls._rounds["broken"].due > CLOCK.monotonic()


def test_servers_are_told_apart_by_host_and_port() -> None:
    assert server_of("ssh://git@git.example:2222/t/s.git") == "git.example:2222"
    assert server_of("https://bot:word@git.example/t/s.git") == "git.example" == server_of("git@git.example:t/s.git")
    assert server_of("/srv/shop.git") == "" == server_of("file:///srv/shop.git")
