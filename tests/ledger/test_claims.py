from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.errors import Conflict
from appliance.ledger import Claim, Ledger, open_ledger
from appliance.ledger.chain import first_break
from appliance.ledger.lease import Lease, Worker, gone, started_at
from appliance.work import Outcome, State, TrackedRepository, WorkItem
from tests.ledger.world import SteppedClock, open_one

LEASE = 60.0
ME = Worker.here()
OTHER = replace(ME, slot=1)


def take(ledger: Ledger, worker: Worker = ME, limit: int = 3) -> Claim | None:
    return ledger.claims.take(worker, LEASE, limit, [State.RECEIVED, State.TRIAGED])


def triaged(item: WorkItem) -> Outcome:
    return Outcome(item=item.with_(state=State.TRIAGED, stage="plan"), reason="looked at")


def test_an_item_is_held_by_one_worker(ledger: Ledger) -> None:
    open_one(ledger)
    assert take(ledger) is not None
    assert take(ledger, OTHER) is None


def test_the_most_severe_then_the_oldest_comes_first(ledger: Ledger) -> None:
    for severity in (3, 1, 3):
        open_one(ledger, severity=severity)
    taken = [take(ledger) for _ in range(3)]
    assert [claim.item.id for claim in taken if claim] == ["W-2", "W-1", "W-3"]


def test_recording_writes_state_and_event_and_frees_the_item(ledger: Ledger) -> None:
    open_one(ledger)
    claim = take(ledger)
    assert claim is not None
    ledger.claims.record(claim, "triage", triaged(claim.item), wall_seconds=2.5)
    event = ledger.history("W-1")[-1]
    assert (event.kind, event.payload["from"], event.payload["to"]) == ("SignalTriaged", "received", "triaged")
    assert ledger.item("W-1").cost.wall_seconds == 2.5
    assert take(ledger, OTHER) is not None


def test_a_lease_that_ran_out_frees_the_item_and_voids_the_old_claim(ledger: Ledger, clock: SteppedClock) -> None:
    open_one(ledger)
    old = take(ledger)
    assert old is not None
    clock.pass_(LEASE)
    new = take(ledger, OTHER)
    assert new is not None
    with pytest.raises(Conflict):
        ledger.claims.record(old, "triage", triaged(old.item), 1.0)
    with pytest.raises(Conflict):
        ledger.claims.renew(old, LEASE)
    ledger.claims.record(new, "triage", triaged(new.item), 1.0)
    assert [event.kind for event in ledger.history("W-1")] == ["ItemOpened", "WorkerLost", "SignalTriaged"]


def test_a_renewed_lease_holds_on(ledger: Ledger, clock: SteppedClock) -> None:
    open_one(ledger)
    claim = take(ledger)
    assert claim is not None
    clock.pass_(LEASE - 1)
    ledger.claims.renew(claim, LEASE)
    clock.pass_(LEASE - 1)
    assert take(ledger, OTHER) is None


@pytest.mark.parametrize("years", [-10, 10])
def test_a_jumping_wall_clock_neither_frees_nor_freezes_an_item(
    ledger: Ledger, clock: SteppedClock, years: int
) -> None:
    open_one(ledger)
    take(ledger)
    clock.wall += timedelta(days=365 * years)
    assert take(ledger, OTHER) is None
    clock.mono += LEASE
    assert take(ledger, OTHER) is not None


def test_after_a_restart_of_the_machine_wall_time_decides() -> None:
    lease = Lease("boot-1", until_monotonic=1060.0, from_wall=500.0, until_wall=560.0)
    assert not lease.over("boot-2", monotonic=5.0, wall=559.0)
    assert lease.over("boot-2", monotonic=5.0, wall=560.0)
    assert lease.over("boot-2", monotonic=5.0, wall=499.0), "a clock that went back may not hold work for ever"


def test_the_item_of_a_dead_process_is_free_at_once(ledger: Ledger) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    dead = replace(ME, pid=child, started=started_at(child) or 0)
    os.waitpid(child, 0)
    open_one(ledger)
    assert take(ledger, dead) is not None
    assert gone(dead, ME)
    assert take(ledger) is not None


def test_an_item_that_took_three_workers_down_needs_a_person(ledger: Ledger, clock: SteppedClock) -> None:
    open_one(ledger)
    for _ in range(3):
        assert take(ledger) is not None
        clock.pass_(LEASE)
    assert take(ledger) is None
    item = ledger.item("W-1")
    assert item.state is State.NEEDS_HUMAN
    assert "took 3 workers down" in item.waiting_for
    assert [event.kind for event in ledger.history("W-1")].count("WorkerLost") == 3


def test_strikes_do_not_add_up_over_stages(ledger: Ledger, clock: SteppedClock) -> None:
    open_one(ledger)
    for _ in range(2):
        take(ledger)
        clock.pass_(LEASE)
    claim = take(ledger)
    assert claim is not None
    ledger.claims.record(claim, "triage", triaged(claim.item), 1.0)
    for _ in range(2):
        assert take(ledger) is not None
        clock.pass_(LEASE)
    assert take(ledger) is not None


def test_a_postponed_item_waits_and_a_clock_set_back_does_not_prolong_it(ledger: Ledger, clock: SteppedClock) -> None:
    open_one(ledger)
    claim = take(ledger)
    assert claim is not None
    ledger.claims.postpone(claim, "triage", "the gateway is away", 30)
    assert take(ledger) is None
    clock.wall -= timedelta(days=365)
    again = take(ledger)
    assert again is not None and again.retries == 1


def test_a_command_waits_until_nobody_holds_the_item(ledger: Ledger) -> None:
    open_one(ledger)
    claim = take(ledger)
    assert claim is not None
    number = ledger.command("W-1", "cancel", "ada")

    def cancelled(item: WorkItem) -> Outcome:
        return Outcome(item=item.with_(state=State.CANCELLED), reason="cancelled", by="person:ada")

    assert not ledger.claims.apply(number, "W-1", OTHER, cancelled)
    ledger.claims.record(claim, "triage", triaged(claim.item), 1.0)
    assert ledger.claims.apply(number, "W-1", OTHER, cancelled)
    assert ledger.item("W-1").state is State.CANCELLED
    assert ledger.open_commands() == []


@given(
    boot=st.sampled_from(["a", "b"]),
    mono=st.floats(0, 1e6),
    wall=st.floats(0, 1e6),
    start=st.floats(0, 1e6),
    seconds=st.floats(1, 1e4),
)
def test_every_lease_ends_on_whatever_clock(boot: str, mono: float, wall: float, start: float, seconds: float) -> None:
    lease = Lease("a", start + seconds, start, start + seconds)
    if boot == "a":
        assert lease.over("a", max(mono, start + seconds), wall)
    else:
        assert lease.over("b", mono, max(wall, start + seconds))


class Claiming(RuleBasedStateMachine):
    """Several workers, any order of taking, dying, postponing and recording: nothing lost, doubled or unchained."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SteppedClock()
        folder = Path(os.environ["PYTEST_TMP_CLAIMING"])
        self.file = folder / f"{len(list(folder.iterdir()))}.db"
        self.ledger = open_ledger(self.file, self.clock)
        self.ledger.add_repository(TrackedRepository(name="shop", url="file:///nowhere", branch="main"))
        self.held: dict[str, Claim] = {}
        self.stale: list[Claim] = []
        self.recorded: dict[str, int] = {}

    @rule()
    def open(self) -> None:
        open_one(self.ledger)

    @rule(slot=st.integers(0, 2))
    def take(self, slot: int) -> None:
        claim = self.ledger.claims.take(replace(ME, slot=slot), LEASE, 1000, [State.RECEIVED])
        if claim:
            if claim.item.id in self.held:
                self.stale.append(self.held[claim.item.id])
            self.held[claim.item.id] = claim

    @rule(seconds=st.sampled_from([1.0, LEASE / 2, LEASE]), jump=st.sampled_from([0, -86400, 86400]))
    def time_passes(self, seconds: float, jump: int) -> None:
        self.clock.pass_(seconds)
        self.clock.wall += timedelta(seconds=jump)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def record(self, data: st.DataObject) -> None:
        id = data.draw(st.sampled_from(sorted(self.held)))
        claim = self.held.pop(id)
        self.ledger.claims.record(claim, "triage", triaged(claim.item), 0.1)
        self.recorded[id] = self.recorded.get(id, 0) + 1

    @precondition(lambda self: self.stale)
    @rule()
    def a_late_worker_records(self) -> None:
        claim = self.stale.pop()
        with pytest.raises(Conflict):
            self.ledger.claims.record(claim, "triage", triaged(claim.item), 0.1)

    @precondition(lambda self: self.held)
    @rule()
    def postpone(self) -> None:
        _, claim = self.held.popitem()
        self.ledger.claims.postpone(claim, "triage", "later", 1.0)

    @invariant()
    def every_outcome_counts_once(self) -> None:
        assert all(count == 1 for count in self.recorded.values())
        done = [item.id for item in self.ledger.items(states=[State.TRIAGED])]
        assert sorted(done) == sorted(self.recorded)

    @invariant()
    def the_chain_holds(self) -> None:
        assert first_break(self.ledger.raw_events())[2] == ""

    def teardown(self) -> None:
        self.ledger.close()


@pytest.fixture(autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_TMP_CLAIMING", str(tmp_path_factory.mktemp("claiming")))


TestClaiming = Claiming.TestCase
TestClaiming.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
