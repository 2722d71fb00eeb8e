"""The `learning` process: one thread takes over what the ledger appends, others answer questions.

The store's transaction comes first and the ledger's watermark after it: killed in between, the store is ahead by one
batch, which the next start sees and accepts (see `opening.py`).
"""

from __future__ import annotations

import fcntl
import gc
import json
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from types import FrameType
from typing import Any

import duckdb

from appliance.config import Home
from appliance.errors import Conflict, FactoryError, LimitExceeded, Unavailable, UsageError
from appliance.events import Fact
from appliance.learning import freely, keeping, opening, people, spool
from appliance.learning.client import CONTENT
from appliance.learning.door import Door
from appliance.learning.policies import Policies
from appliance.learning.priors import FILE, MOST_REPAIRS, WON, file_of, repair_of
from appliance.learning.queries import prepared
from appliance.learning.rubbing import Watch
from appliance.learning.store import Store
from appliance.learning.training import Training
from appliance.learning.watching import watch
from appliance.ledger import Ledger, open_ledger
from appliance.private import replace_private
from appliance.settings import Settings

log = logging.getLogger("appliance.learning")

AWAKE_SECONDS = 1.0
"""The kernel may give a signal to another thread than the main one, whose handler then waits until that one wakes."""

WATCH_SECONDS = 60.0
"""Between two looks at the outcomes of the routing policy."""

QUESTION_SECONDS = 10.0
"""How long one question may take."""


class Learning:
    """The store of one home, kept up with its ledger."""

    def __init__(self, home: Home, settings: Settings) -> None:
        """Raises Conflict when another process has the store, Unavailable when it cannot be opened at all."""
        self.home = home
        self.settings = settings.learning
        self.ledger: Ledger = open_ledger(home)
        self._store, self.begun = self._opened()
        self._wanted = threading.Event()
        self._rebuilt = threading.Condition()
        self._rebuilds = 0
        self._exporting = threading.Lock()
        self._kept: date | None = None
        """The day on which was last looked for what is older than is kept."""
        self._watch_next = 0.0
        self._training = Training(home, settings.learning.train_hours)
        self._repaired = True
        """Whether repairs may have been learned of since their file was written."""

    def close(self) -> None:
        self._training.end()
        self._store.close()
        self.ledger.close()

    def follow(self, stopping: threading.Event) -> None:
        """Take over events until told to stop. A ledger that is away is waited for."""
        while not stopping.is_set():
            try:
                if self._wanted.is_set():
                    self.rebuild()
                    continue
                busy = self.step()
                busy = self.look_for_frictions() or busy
            except Unavailable as error:
                log.warning("%s (%s)", error.message, error.hint)
                busy = False
            except duckdb.OutOfMemoryException as error:  # a question took it all; it is over within seconds
                log.warning("the learning store goes on in a moment: %s", error)
                busy = False
            if not busy:
                self.publish_priors()
                self.watch_policy()
                self._training.look()
                self.keep()
                self._wanted.wait(self.settings.poll_seconds)

    def publish_priors(self) -> None:
        """Write what past repairs teach the search for the next ones, when that changed."""
        if not self._repaired:
            return
        try:
            rows = self._store.ask(WON, {"most": MOST_REPAIRS}, QUESTION_SECONDS)
            repairs = [repair_of(row["happened"], json.loads(row["payload"])) for row in rows]
            content, file = file_of(repairs, self.settings.repair_half_life_days), self.home.policy / FILE
            if content is not None and not (file.is_file() and file.read_bytes() == content):
                replace_private(file, content)
                log.info("wrote what %d past repairs teach to %s", len(repairs), file)
        except (FactoryError, OSError) as error:
            log.warning("what past repairs teach is not written: %s", error)  # the next look at the ledger tries again
        else:
            self._repaired = False

    def watch_policy(self) -> None:
        """Take the routing policy back if its outcomes got worse; looked at once a minute."""
        if time.monotonic() < self._watch_next:
            return
        self._watch_next = time.monotonic() + WATCH_SECONDS
        try:
            if why := watch(Policies(self.home, self.ledger), self.ledger, self._store.ask, QUESTION_SECONDS):
                log.warning("the routing policy was rolled back: %s", why)
        except (FactoryError, OSError) as error:
            log.warning("the routing policy is not watched: %s", error)  # looked at again in a minute

    def step(self) -> bool:
        """Take over one batch of events, and a chunk of each file of the spool. False when there was nothing."""
        events = self._take_events()
        return self._take_calls() or events

    def look_for_frictions(self) -> bool:
        """Look at some of what was taken over last. False when there was nothing."""
        rubbing = Watch(
            self.ledger, lambda sql, given: self._store.ask(sql, given, QUESTION_SECONDS), self.settings,
            self.home.evidence,
        )  # fmt: skip
        try:
            return rubbing.step(self._store.watermark()[0])
        except LimitExceeded as error:
            log.warning("frictions are looked for later: %s (%s)", error.message, error.hint)
            return False

    def _take_calls(self) -> bool:
        positions, busy = self._store.positions(), False
        for file in spool.files(self.home.spool):
            size, position = size_of(file), positions.get(file.name, 0)
            if size < position:
                self._shortened(file.name, position, size)
                position = size
            chunk = spool.chunk_at(file, position) if size > position else None
            if chunk is not None:
                opening.note(self.ledger, None, {file.name: self._store.take_calls(chunk)})
                busy = True
        return busy

    def _shortened(self, name: str, before: int, now: int) -> None:
        """What was taken over from it stays; what is written into it from now on is new."""
        said = f"shortened from {before} to {now} bytes; the calls that were cut off stay until the next rebuild"
        log.warning("%s was %s", name, said)
        opening.note(self.ledger, None, {name: now})  # before the store: it may be ahead of the ledger, never behind
        self._store.set_back(name, now, said)

    def _take_events(self) -> bool:
        seq, _ = self._store.watermark()
        with _no_collection():
            events = self.ledger.tail(seq, self.settings.batch_rows)
            if not events:
                return False
            seq = self._store.take_over(events)
        self._repaired = self._repaired or any(event.kind == Fact.OUTCOME_LEARNED for event in events)
        opening.note(self.ledger, seq, {})
        return True

    def catch_up(self) -> None:
        """Take over everything there is."""
        while self.step():
            pass

    def rebuild(self) -> None:
        """Build the store anew. Questions asked meanwhile are told to come back."""
        forgotten = self._store.is_without() != len(people.known(self.ledger))
        self._store.close()
        if forgotten:
            opening.remove(self._store.file)
        why = opening.FORGOTTEN if forgotten else f"a person asked for it; the old file is {self._put_aside()}"
        self._store = opening.begin_anew(
            self._store.file, self.home.spool, self.ledger, self.settings.memory_mb, why,
        )  # fmt: skip
        self.catch_up()
        self._kept = None
        self.keep()
        self.begun = why.partition(";")[0]
        self._wanted.clear()
        with self._rebuilt:
            self._rebuilds += 1
            self._rebuilt.notify_all()

    def _put_aside(self) -> str:
        return opening.put_aside(self._store.file).name

    def keep(self) -> None:
        """Once a day, remove what is older than the settings say, and give its room back to the disk."""
        now = self.ledger.clock.now()
        if self._kept == now.date():
            return
        first = keeping.first_day(self.settings.calls_days, now)
        files = keeping.drop_files(self.home.spool, first) if first else []
        changed = self._store.keep(self.settings, now)
        if changed or files:
            log.info("%d rows and %d files of calls were older than is kept", changed, len(files))
        if changed and self._store.has_room(changed):
            self._compact()
        self._kept = now.date()

    def _compact(self) -> None:
        self._store.close()
        try:
            keeping.compact(self._store.file)
        except duckdb.Error as error:
            log.warning("the learning store keeps its free room for now: %s", error)
        self._store, _ = self._opened()

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """What one question gets. Raises FactoryError. Safe from any thread."""
        name = str(question.get("ask", ""))
        if name == "status":
            return {"status": self.status()}
        if name == "rebuild":
            return self._rebuilt_by_follower()
        given = question.get("with")
        given = given if isinstance(given, dict) else {}
        if name == "forget":
            named = {"pseudonym": people.forget(self.ledger, str(given.get("name", "")))}
            return {"status": {**self._rebuilt_by_follower()["status"], **named}}
        if name == "sql":
            return self._look(given)
        if name == "export":
            return self._export()
        sql, parameters = prepared(name, given)
        return {"rows": self._store.ask(sql, parameters, QUESTION_SECONDS)}

    def _rebuilt_by_follower(self) -> dict[str, Any]:
        with self._rebuilt:
            before = self._rebuilds
            self._wanted.set()
            self._rebuilt.wait_for(lambda: self._rebuilds > before)
        return {"status": self.status()}

    def _look(self, given: dict[str, Any]) -> dict[str, Any]:
        sql, most = given.get("sql"), given.get("most", 1000)
        if not isinstance(sql, str) or len(sql) > freely.LONGEST:
            raise UsageError(f"a question is text of at most {freely.LONGEST} characters", "ask with one SELECT")
        if type(most) is not int or not 0 < most <= freely.MOST_ROWS:
            raise UsageError(f"between 1 and {freely.MOST_ROWS} rows can be asked for", "`learn export` gives all")
        if given.get("format") == "arrow":
            stream = self._store.stream(sql, most, QUESTION_SECONDS)
            return {"rows": stream.rows, "more": stream.more, CONTENT: stream.content}
        found = self._store.look(sql, most, QUESTION_SECONDS)
        return {"columns": found.columns, "rows": found.rows, "more": found.more}

    def _export(self) -> dict[str, Any]:
        """Write all tables into a new folder; whoever asked takes it from there."""
        with self._exporting:
            exports = self._store.exports
            shutil.rmtree(exports, ignore_errors=True)  # what nobody took
            exports.mkdir(mode=0o700)
            return {"folder": str(exports), "rows": self._store.export(exports)}

    def status(self) -> dict[str, Any]:
        """How far the store is, and what it holds."""
        sql, parameters = prepared("counts", {})
        counts = self._store.ask(sql, parameters, QUESTION_SECONDS)[0]
        read = self._store.ask("SELECT file FROM spool_files", {}, QUESTION_SECONDS)
        tip, _ = self.ledger.tip()
        file = self._store.file
        size = sum(one.stat().st_size for one in (file, opening.wal(file)) if one.exists())
        return {**counts, "behind": max(0, tip - int(counts["events"])), "file": str(file), "bytes": size,
                "only_here": sorted({row["file"] for row in read} - {one.name for one in spool.files(self.home.spool)}),
                "begun_anew": self.begun, "duckdb": duckdb.__version__}  # fmt: skip

    def digest(self) -> dict[str, str]:
        """SHA-256 of each table's rows."""
        return self._store.digest()

    def _opened(self) -> tuple[Store, str]:
        try:
            return opening.open_trusted(self.home.learning, self.home.spool, self.ledger, self.settings.memory_mb)
        except duckdb.Error as error:
            raise Unavailable(
                f"the learning store {self.home.learning} cannot be opened: {error}",
                "see that the disk has room, and that no other process has the file open",
            ) from error


def serve(home: Home, settings: Settings) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        Conflict: another learning process works in this home.
        Unavailable: the ledger or the store cannot be used.
    """
    with (home.run / "learning.lock").open("w") as lock:
        hold(lock)
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _setter(stopping))
        learning = Learning(home, settings)
        follower = _Thread(lambda: learning.follow(stopping), stopping)
        try:
            with Door(home, learning.answer):
                log.info("the learning store has %d events", learning.status()["events"])
                follower.start()
                while not stopping.wait(AWAKE_SECONDS):
                    pass
            follower.join()
        finally:
            learning.close()
        if follower.problem is not None:
            raise follower.problem
    return 0


def rebuild_stopped(home: Home, settings: Settings, forget: str = "") -> dict[str, Any]:
    """Build the store anew while no learning process runs; its status, with the `pseudonym` of who is to be forgotten.

    Raises Conflict when one runs, UsageError for what is no name.
    """
    with (home.run / "learning.lock").open("w") as lock:
        hold(lock)
        learning = Learning(home, settings)
        try:
            named = {"pseudonym": people.forget(learning.ledger, forget)} if forget else {}
            learning.rebuild()
            return {**learning.status(), **named}
        finally:
            learning.close()


@contextmanager
def _no_collection() -> Iterator[None]:
    """A batch makes hundreds of thousands of small objects and not one cycle: to look for cycles among them again and
    again took a seventh of the time of taking it over."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def size_of(file: Path) -> int:
    """Bytes; 0 for a file that is gone."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def hold(lock: Any) -> None:
    """Take the lock of the home's learning process. Raises Conflict."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Conflict("another learning process works in this home", "stop it, or use another --home") from error


class _Thread(threading.Thread):
    """Runs the follower; what ends it early ends the process, which is started again with a fresh connection."""

    def __init__(self, work: Callable[[], None], stopping: threading.Event) -> None:
        super().__init__(name="follower", daemon=True)
        self._work = work
        self._stopping = stopping
        self.problem: FactoryError | None = None

    def run(self) -> None:
        try:
            self._work()
        except FactoryError as error:
            self.problem = error
        except duckdb.Error as error:
            # a full disk, say: DuckDB takes nothing more on this connection, and what is committed stays
            self.problem = Unavailable(f"the learning store cannot be written: {error}", "see that the disk has room")
        finally:
            self._stopping.set()


def _setter(stopping: threading.Event) -> Callable[[int, FrameType | None], None]:
    def handler(_number: int, _frame: FrameType | None) -> None:
        # a signal may come while the main thread holds the event's lock, so another thread sets it
        threading.Thread(target=stopping.set, daemon=True).start()

    return handler
