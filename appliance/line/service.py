"""The `line` process: puts the parts together, runs the workers and the one scheduler, publishes what goes on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import signal
import threading
import time
from types import FrameType

from apscheduler.schedulers.background import BackgroundScheduler

from appliance.computers.probe import open_sandbox
from appliance.computers.sandbox import BoxedSandbox
from appliance.config import Home
from appliance.errors import Conflict, FactoryError, NoSandbox
from appliance.gateway_client import GatewayModel
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.audit import write_anchor
from appliance.limits import Limits
from appliance.line import drops, scanners
from appliance.line.backing_up import BackingUp, backup_of, settings_of
from appliance.line.certificate import Renewal
from appliance.line.forgetting import Forgetting
from appliance.line.incoming import Incoming
from appliance.line.outgoing import Outgoing
from appliance.line.parts import Parts
from appliance.line.polling import Poller
from appliance.line.recalling import Recalling
from appliance.line.replaying import Replaying, replay_in
from appliance.line.runner import Board, Runner
from appliance.line.set_back import SetBack, plan_anew
from appliance.line.strategies import Droid, Searching, suite_in
from appliance.mirror.address import ca_file
from appliance.mirror.forges import adapter
from appliance.mirror.mirror import Mirror
from appliance.ports import Forge, Progress, SystemClock
from appliance.settings import Settings
from appliance.work import ENDED, State, TrackedRepository, WorkItem

log = logging.getLogger("appliance.line")

PUBLISH_SECONDS = 0.5


class Line:
    """One line process of a home."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings
        self.limits = Limits(home.settings_file, settings)
        self.ledger: Ledger = open_ledger(home)
        self.board = Board()
        self.poller = Poller(self.ledger, self.mirror_of, self.forge_of, settings.line)
        self._forges: dict[str, tuple[str, Forge]] = {}
        address = settings.console.address
        self.incoming = Incoming(self.ledger, self.poller.wake, self.forge_of, address)
        self.outgoing = Outgoing(self.ledger, self.forge_of, self.mirror_of, address)
        self.drops = drops.watched(home, self.ledger, settings.intake)
        self.clock = SystemClock()
        self.replaying = Replaying(self.ledger, replay_in(home), settings.learning.replay_days, self.clock)
        self.backing_up = BackingUp(self.ledger, backup_of(home), settings_of(home), self.clock)
        self.model = GatewayModel.of_the_line(home)
        self.recalling = Recalling(self.ledger, self.model, settings.learning)
        self.forgetting = Forgetting(self.ledger, self.mirror_of, settings.learning.lesson_days)
        self.renewal = Renewal(home, self.ledger, settings.certificate, self.clock)
        self.sandbox: BoxedSandbox | None = None
        self.no_sandbox = ""
        try:
            self.sandbox = open_sandbox(settings.computers, home)
        except NoSandbox as error:
            self.no_sandbox = f"{error.message}. {error.hint}"
            log.error("%s", self.no_sandbox)

    def parts_for(self, item: WorkItem, progress: Progress) -> Parts:
        """The parts bound to an item's repository. Raises NoSandbox when there is none: nothing runs without;
        and as `adapter` does for a forge whose token is missing."""
        if self.sandbox is None:
            raise NoSandbox(self.no_sandbox, f"then `appliance item retry {item.id}`")
        sandbox, settings = self.sandbox, self.limits.now()
        tracked = self.ledger.repository(item.repo)
        suite = suite_in(sandbox, tracked, settings, progress)
        searching = Searching(sandbox, settings, self.home, sandbox.python, progress)
        model = self.model.about(repo=item.repo, item=item.id, stage=item.stage)
        open_states = [state for state in State if state not in ENDED]
        return Parts(
            settings=settings,
            tracked=tracked,
            repository=self.mirror_of(tracked),
            forge=self.forge_of(tracked),
            suite=suite,
            localise=searching.localise,
            search=searching,
            droid=Droid(model, suite, settings, sandbox, progress, self.home.evidence),
            model=model,
            scanners=scanners.usual(sandbox),
            clock=self.clock,
            progress=progress,
            open_items=tuple(reversed(self.ledger.items(item.repo, open_states, limit=200))),
            recall=self.recalling,
            scratch=self.home.computers / item.id,
            evidence=self.home.evidence / item.id,
        )

    def anchor(self) -> None:
        """Note the newest event outside the database (see ledger.audit)."""
        key = (self.home.secrets / "audit.key").read_bytes()
        write_anchor(self.home.secrets / "ledger.anchor", *self.ledger.tip(), key)

    def work_off(self) -> None:
        """Settle the messages from outside that wait."""
        try:
            self.incoming.work_off()
        except FactoryError as error:  # the ledger itself: they wait on
            log.error("messages from outside wait: %s (%s)", error.message, error.hint)

    def tell(self) -> None:
        """Tell the forges what is new."""
        try:
            self.outgoing.tell()
        except FactoryError as error:  # the ledger itself: it is told later
            log.error("forges are not told: %s (%s)", error.message, error.hint)

    def watch(self) -> None:
        """Look at the requests that items wait for."""
        try:
            self.outgoing.watch()
        except FactoryError as error:
            log.error("merge requests are not watched: %s (%s)", error.message, error.hint)

    def look(self) -> None:
        """Take the mails and files that were dropped."""
        try:
            self.drops.look()
        except FactoryError as error:  # the ledger itself: they wait on
            log.error("dropped mails and files wait: %s (%s)", error.message, error.hint)

    def tend_lessons(self) -> None:
        """Let go of lessons that have had their time, and make vectors of new ones."""
        try:
            self.forgetting.look()
            self.recalling.make_vectors()
        except FactoryError as error:
            log.error("lessons stay as they are: %s (%s)", error.message, error.hint)

    def replay(self) -> None:
        """Let a replay begin when it is quiet, and end when it no longer is."""
        try:
            self.replaying.look()
        except (FactoryError, OSError) as error:
            log.error("no replay in quiet hours: %s", error)

    def back_up(self) -> None:
        """Let a backup begin that is due."""
        try:
            self.backing_up.look()
        except (FactoryError, OSError) as error:
            log.error("no backup by schedule: %s", error)

    def let_go(self) -> None:
        """Let go of old messages from outside."""
        try:
            drops.forget_old(self.ledger, self.settings.intake, self.clock.now())
        except FactoryError as error:
            log.error("old messages stay: %s (%s)", error.message, error.hint)

    def renew_certificate(self) -> None:
        """Renew the certificate of the doors in time."""
        try:
            self.renewal.look()
        except FactoryError as error:
            log.error("the certificate is not renewed: %s (%s)", error.message, error.hint)

    def mirror_of(self, tracked: TrackedRepository) -> Mirror:
        """A repository's mirror."""
        return Mirror.of(self.home, tracked, self.settings.mirror)

    def forge_of(self, tracked: TrackedRepository) -> Forge:
        """A repository's forge, kept while its token and settings are the same: it knows its account by then. Raises as
        `adapter` does."""
        secrets = (self.home.secrets / f"forge-{tracked.name}.token", ca_file(self.home.secrets, tracked.name))
        times = [file.stat().st_mtime_ns if file.exists() else 0 for file in secrets]
        made_of = f"{tracked.model_dump_json()} {times}"
        known = self._forges.get(tracked.name)
        if known is None or known[0] != made_of:
            known = self._forges[tracked.name] = (made_of, adapter(self.home, tracked, self.settings.mirror))
        return known[1]

    def publish(self) -> None:
        """Write `run/line.json`: what each worker does now, for `status`, the console and `item watch`."""
        content = json.dumps({
            "pid": os.getpid(), "at": time.time(), "sandbox": self.sandbox.tier if self.sandbox else "C",
            "problem": self.no_sandbox, "doing": list(self.board.slots.values()),
        })  # fmt: skip
        file = self.home.run / "line.json"
        temporary = file.with_suffix(".tmp")
        with contextlib.suppress(OSError):  # a full disk: the line goes on, and it is told in a moment
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(file)


def serve(home: Home, settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. The stage in hand is finished for at most ten seconds, then left to its lease."""
    lock = (home.run / "line.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict("another line process works in this home", "stop it, or use another --home") from error
    shutil.rmtree(home.computers, ignore_errors=True)  # what a killed line left; nobody else is here now
    home.computers.mkdir()
    line = Line(home, settings)
    stop = threading.Event()
    _stop_on_signals(stop)
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it would log every look for messages
    scheduler = BackgroundScheduler(timezone="UTC")
    for job, seconds in (
        (line.work_off, settings.line.poll_seconds),
        (line.tell, settings.line.poll_seconds),
        (line.watch, settings.line.sync_seconds),
    ):
        scheduler.add_job(job, "interval", seconds=seconds, max_instances=1, coalesce=True)
    scheduler.add_job(line.look, "interval", seconds=settings.intake.look_seconds, max_instances=1, coalesce=True)
    scheduler.add_job(line.tend_lessons, "interval", minutes=1, max_instances=1, coalesce=True)
    scheduler.add_job(line.let_go, "interval", minutes=1, max_instances=1, coalesce=True)
    scheduler.add_job(line.renew_certificate, "interval", minutes=1, max_instances=1, coalesce=True)
    scheduler.start()
    runner = Runner(line.ledger, line.parts_for, settings.line, line.board, line.anchor, settings.learning)
    line.poller.start(stop)
    threading.Thread(target=runner.attend, args=(stop,), name="attend", daemon=True).start()
    workers = [_worker(runner, slot, stop) for slot in range(settings.line.workers)]
    log.info(
        "the line works with %d workers, sandbox tier %s", len(workers), line.sandbox.tier if line.sandbox else "C"
    )
    set_back = SetBack(line.clock)
    while not stop.is_set():
        line.publish()
        line.replay()
        line.back_up()
        if set_back.noticed():
            log.warning("the clock was set back to %s", line.clock.now().isoformat(timespec="seconds"))
            plan_anew(scheduler, line.clock)
        stop.wait(PUBLISH_SECONDS)
    line.replaying.end()
    line.backing_up.end()
    scheduler.shutdown(wait=False)
    for worker in workers:
        worker.join(timeout=10)
    (home.run / "line.json").unlink(missing_ok=True)
    lock.close()
    return 0


def _worker(runner: Runner, slot: int, stop: threading.Event) -> threading.Thread:
    # not daemonic threads would keep the process alive for a stage of minutes; the lease protects its item instead
    thread = threading.Thread(target=runner.work, args=(slot, stop), name=f"worker-{slot}", daemon=True)
    thread.start()
    return thread


def _stop_on_signals(stop: threading.Event) -> None:
    def handler(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
