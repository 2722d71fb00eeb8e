"""The engine loop of the line: claim, run the stage, record. The only writer of outcomes.

``work`` is one worker's loop; several run as threads. While a stage runs, a second thread renews the lease. What a
stage raises is settled here: something away for a while postpones the item, anything else that keeps failing sends it
to a person with the words of the error.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from appliance.errors import Conflict, FactoryError, Unavailable
from appliance.ledger import Claim, Ledger
from appliance.ledger.lease import Worker
from appliance.ledger.legal import check_legal
from appliance.line import build, learn, monitor, plan, review, secure, ship, signal, test, triage
from appliance.line.commands import decide
from appliance.line.parts import Parts
from appliance.line.remembering import said, taught
from appliance.settings import LearningSettings, LineSettings
from appliance.work import Outcome, State, WorkItem

log = logging.getLogger("appliance.line")

Run = Callable[[WorkItem, Parts], Outcome]

STAGES: Mapping[str, tuple[State, Run]] = {
    "triage": (State.RECEIVED, triage.run),
    "plan": (State.TRIAGED, plan.run),
    "build": (State.PLANNED, build.run),
    "test": (State.BUILT, test.run),
    "review": (State.TESTED, review.run),
    "secure": (State.REVIEWED, secure.run),
    "ship": (State.SECURED, ship.run),
    "monitor": (State.SHIPPED, monitor.run),
    "learn": (State.MONITORED, learn.run),
}
"""stage → the state it takes items in, and its function. `signal` comes before: it opens the item."""

STAGE_OF: Mapping[State, str] = {state: stage for stage, (state, _) in STAGES.items()}


@dataclass
class Board:
    """What the workers are doing now, for people: written by them, published by the service."""

    slots: dict[int, dict[str, object]] = field(default_factory=dict)

    def note(self, slot: int, item: str, stage: str, line: str) -> None:
        since = self.slots.get(slot, {}).get("since") if self.slots.get(slot, {}).get("stage") == stage else time.time()
        self.slots[slot] = {"item": item, "stage": stage, "doing": line, "since": since, "at": time.time()}

    def clear(self, slot: int) -> None:
        self.slots.pop(slot, None)


@dataclass(frozen=True)
class Runner:
    """One line process's workers."""

    ledger: Ledger
    parts_for: Callable[[WorkItem, Callable[[str], None]], Parts]
    settings: LineSettings
    board: Board
    recorded: Callable[[], None]
    """Called after each outcome (the service writes the audit anchor)."""
    learning: LearningSettings = field(default_factory=LearningSettings)
    taking_in: threading.Lock = field(default_factory=threading.Lock)
    """Held while commands and signals are taken in: a command that two threads read would be applied twice."""

    def attend(self, stop: threading.Event) -> None:
        """Take in what is new until told to stop: while all workers are in long stages, somebody has to."""
        while not stop.is_set():
            try:
                self.take_in()
            except FactoryError as error:  # the ledger itself: it is all still there at the next look
                log.error("the line cannot take anything in: %s (%s)", error.message, error.hint)
            except Exception:  # the boundary of a thread: nobody else takes things in while all work
                log.exception("the line stumbled as it took something in")
            stop.wait(self.settings.poll_seconds)

    def work(self, slot: int, stop: threading.Event) -> None:
        """Take and do work until told to stop."""
        worker = Worker.here(slot)
        while not stop.is_set():
            try:
                busy = self.step(worker)
            except FactoryError as error:  # the ledger itself: nothing can be recorded, so wait and look again
                log.error("the line cannot work: %s (%s)", error.message, error.hint)
                busy = False
            except Exception:  # the boundary of a thread: a full disk, say, as the anchor is written; it works on
                log.exception("the line stumbled")
                busy = False
            if not busy:
                stop.wait(self.settings.poll_seconds)

    def step(self, worker: Worker) -> bool:
        """Take in what is new, then do one stage of one item. False when there was none to do."""
        self.take_in()
        claim = self.ledger.claims.take(
            worker, self.settings.lease_seconds, self.settings.crash_limit, [state for state, _ in STAGES.values()]
        )
        if claim is None:
            return False
        self.run_stage(claim)
        return True

    def take_in(self) -> None:
        """Apply commands to items nobody holds, and open the items of new signals."""
        with self.taking_in:
            self.apply_commands(Worker.here())
            self.open_signals()

    def open_signals(self) -> None:
        """Turn signals into items."""
        for received, _ in self.ledger.signals(unopened=True, limit=100):
            self.ledger.open_item(received.id, signal.run(received))

    def apply_commands(self, worker: Worker) -> None:
        """Apply what people asked, to items nobody holds; the rest waits for the stage's end."""
        for command in self.ledger.open_commands():
            item = self.ledger.item(command.item)
            try:
                check_legal(command.verb, item.id, item.state)
                if command.verb == "merge":  # the other one may have ended since this was said
                    self.ledger.check_merge(item.id, command.text)
                self.ledger.claims.apply(
                    command.number,
                    command.item,
                    worker,
                    lambda now, command=command: decide(now, command.verb, command.by, command.text),
                    lambda before, outcome, command=command: said(
                        before, outcome, command.verb, command.text, self.learning
                    ),
                )
            except Conflict as error:
                self.ledger.claims.refuse(command.number, command.item, str(item.state), error.message)

    def run_stage(self, claim: Claim) -> None:
        """Run one stage of a claimed item and record how it ended."""
        stage = STAGE_OF[claim.item.state]
        slot, started = claim.worker.slot, time.monotonic()

        def progress(line: str) -> None:
            self.board.note(slot, claim.item.id, stage, line)

        progress("starting")
        try:
            with self.lease_kept(claim):
                outcome = self.outcome_of(claim, stage, progress)
            if outcome is not None:
                learned = taught(claim.item, outcome, stage, self.learning)
                item = self.ledger.claims.record(claim, stage, outcome, time.monotonic() - started, learned)
                log.info("%s %s: %s → %s: %s", item.id, stage, claim.item.state, item.state, outcome.reason)
                self.recorded()
        except Conflict as lost:
            log.warning("%s %s: outcome dropped, %s", claim.item.id, stage, lost.message)
        finally:
            self.board.clear(slot)

    def outcome_of(self, claim: Claim, stage: str, progress: Callable[[str], None]) -> Outcome | None:
        """What the stage returns; None when it was postponed instead."""
        try:
            return STAGES[stage][1](claim.item, self.parts_for(claim.item, progress))
        except Unavailable as error:
            return self.later(claim, stage, f"{error.message}. {error.hint}")
        except FactoryError as error:
            return stopped(claim.item, stage, f"{error.message}. {error.hint}")
        except Exception as error:  # noqa: BLE001 - the boundary of a stage: whatever it is, the item must not be lost
            log.error("%s %s: %s", claim.item.id, stage, traceback.format_exc())
            return self.later(claim, stage, f"{type(error).__name__}: {error}")

    def later(self, claim: Claim, stage: str, why: str) -> Outcome | None:
        """Try again after a growing pause; a person is asked when patience is over."""
        if claim.retries >= self.settings.stage_retries:
            return stopped(claim.item, stage, f"after {claim.retries + 1} tries: {why}")
        pause = min(300.0, 2.0 * 2.0**claim.retries)
        log.warning("%s %s: %s; again in %.0f s", claim.item.id, stage, why, pause)
        self.ledger.claims.postpone(claim, stage, why, pause)
        return None

    @contextmanager
    def lease_kept(self, claim: Claim) -> Iterator[None]:
        """Renew the lease in the background while a stage runs."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.settings.lease_seconds / 3):
                try:
                    self.ledger.claims.renew(claim, self.settings.lease_seconds)
                except Conflict:
                    return  # taken by another: `record` will find out and drop the outcome
                except FactoryError as error:
                    log.warning("%s: lease not renewed, %s", claim.item.id, error.message)

        thread = threading.Thread(target=renew, name=f"lease-{claim.item.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def stopped(item: WorkItem, stage: str, why: str) -> Outcome:
    """Stop for a person, at this stage."""
    return Outcome(item=item.with_(state=State.NEEDS_HUMAN, stage=stage, waiting_for=why), reason=why, by="rule")
