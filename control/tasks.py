"""Commands of the box that take long: run beside the console, each a task with a name, a log and an end.

The same command that a person would type runs in a child process. What is asked for is on the disk before it begins, so
a console that was killed begins it anew: these commands go on where they stopped, or leave nothing. The child ends with
the console, so no command ever runs twice at once.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import IO, Any, Literal

from pydantic import Field, ValidationError

from appliance.config import Home
from appliance.errors import Conflict, LimitExceeded, NotFound
from appliance.events import Event, Fact
from appliance.ledger import Ledger
from appliance.private import replace_private
from appliance.secrets import redact
from appliance.work import Noun, utcnow

AT_ONCE = 2
"""Children; a box has other work to do."""
MOST_WAITING = 20
KEPT = 200
"""Tasks that have ended, the newest."""
MOST_LINES = 2000
"""Of a log, as it is shown: its end."""
LONGEST_LINE = 4000
UNDER_WAY = ("waiting", "running")


class Task(Noun):
    """One command: what was asked by whom, and what came of it."""

    id: str
    name: str
    words: tuple[str, ...] = Field(description="the command line after `appliance`")
    by: str
    begun: datetime
    ended: datetime | None = None
    state: Literal["waiting", "running", "done", "failed", "stopped"] = "waiting"
    done: int = Field(0, description="bytes, while it runs and says so")
    total: int = 0
    error: str = ""
    hint: str = ""
    outcome: dict[str, Any] = Field(default_factory=dict, description="what the command printed")
    removes: str = Field("", description="a folder that is no longer needed once it is done")
    secret_given: bool = Field(False, description="a secret went in by standard input, which is kept nowhere")
    starts: int = Field(0, description="more than one: the console was ended meanwhile")

    @property
    def under_way(self) -> bool:
        """Has it not ended yet?"""
        return self.state in UNDER_WAY


class Tasks:
    """The tasks of one console. One process alone may have it."""

    def __init__(self, home: Home, ledger: Ledger) -> None:
        self._home = home
        self._ledger = ledger
        self._folder = home.spool / "tasks"
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._live: dict[str, Task] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        setpriv = shutil.which("setpriv")
        self._mortal = [setpriv, "--pdeathsig", "KILL"] if setpriv else []

    def begin(self, name: str, words: Sequence[str], by: str, secret: str = "", removes: str = "") -> Task:
        """Ask for a command; it runs as soon as there is a place. `secret` goes into its standard input.

        Raises LimitExceeded when too many wait.
        """
        with self._lock:
            if len(self._live) >= MOST_WAITING:
                raise LimitExceeded(f"{MOST_WAITING} tasks are under way", "wait until one of them has ended")
            task = Task(id=f"T-{secrets.token_hex(4)}", name=name, words=tuple(words), by=by, begun=utcnow(),
                        removes=removes, secret_given=bool(secret))  # fmt: skip
            self._keep(task)
            self._live[task.id] = task
        self._ledger.append(Event(kind=Fact.TASK_BEGUN, subject=task.id, payload={"title": name, "by": by}))
        self._start(task, secret)
        return task

    def resume(self) -> None:
        """Begin anew what a console that was ended left behind. Called once, when the process starts."""
        for task in reversed(self.every()):
            if not task.under_way or task.id in self._live:
                continue
            if task.secret_given:
                self._end(task, state="failed", error="the console was ended meanwhile", hint="ask for it again")
                continue
            self._live[task.id] = task
            self._start(task, "")

    def again(self, id: str, by: str) -> Task:
        """Ask once more for what has ended. Raises NotFound, Conflict."""
        task = self.get(id)
        if task.under_way or task.state == "done" or task.secret_given:
            raise Conflict(f"{task.name} is {task.state}", "ask for it on its own page")
        return self.begin(task.name, task.words, by, removes=task.removes)

    def stop(self, id: str) -> Task:
        """End a task's command. What it had done so far is kept for the next try, where the command does so."""
        task = self.get(id)
        if not task.under_way:
            raise Conflict(f"{task.name} has ended: {task.state}", "there is nothing to stop")
        with self._lock:
            self._live[id] = task.with_(state="stopped")
            child = self._children.get(id)
        if child:
            child.terminate()
        return task

    def every(self) -> list[Task]:
        """Every task that is kept, the newest first."""
        found = []
        for file in self._folder.glob("T-*.json"):
            with suppress(NotFound):
                found.append(self.get(file.stem))
        return sorted(found, key=lambda task: task.begun, reverse=True)

    def get(self, id: str) -> Task:
        """A task as it is now. Raises NotFound."""
        live = self._live.get(id)
        if live:
            return live
        try:
            if "/" in id or not id.startswith("T-"):
                raise FileNotFoundError
            return Task.model_validate_json((self._folder / f"{id}.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise NotFound(f"there is no task {id!r}", "the page Tasks lists all") from error

    def log(self, id: str) -> list[str]:
        """What a task's command said, its end; without secrets. Raises NotFound."""
        self.get(id)
        try:
            return (self._folder / f"{id}.log").read_text(encoding="utf-8").splitlines()[-MOST_LINES:]
        except FileNotFoundError:
            return []

    # --- what happens in a task's thread

    def _start(self, task: Task, secret: str) -> None:
        threading.Thread(target=self._run, args=(task, secret), name=task.id, daemon=True).start()

    def _run(self, task: Task, secret: str) -> None:
        with self._places:
            if self._live[task.id].state == "stopped":
                self._end(task, state="stopped")
                return
            task = task.with_(state="running", starts=task.starts + 1)
            self._change(task)
            self._keep(task)
            try:
                status, told, error = self._child(task, secret)
            except OSError as problem:  # no memory or no place for another process
                status, told, error = 1, {}, {"message": str(problem), "hint": "look at the machine, and ask again"}
        stopped = self._live[task.id].state == "stopped"
        if status == 0:
            if task.removes:
                shutil.rmtree(task.removes, ignore_errors=True)
            self._end(task, state="done", outcome=told)
        elif stopped:
            self._end(task, state="stopped")
        else:
            message = error.get("message") or f"the command ended with status {status}"
            self._end(task, state="failed", error=message, hint=error.get("hint", "see its log, and ask again"))

    def _child(self, task: Task, secret: str) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Exit status, what it printed, and its error."""
        command = [*self._mortal, sys.executable, "-m", "appliance", "--home", str(self._home.root), "--json"]
        with tempfile.TemporaryFile() as printed, (self._folder / f"{task.id}.log").open("a", encoding="utf-8") as log:
            with subprocess.Popen(
                [*command, *task.words], stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.PIPE
            ) as child:
                with self._lock:
                    self._children[task.id] = child
                assert child.stdin is not None and child.stderr is not None
                with suppress(BrokenPipeError):
                    child.stdin.write(secret.encode())
                    child.stdin.close()
                error = self._follow(task, child.stderr, log)
                status = child.wait()
            printed.seek(0)
            with suppress(ValueError):
                told = json.loads(printed.read() or b"{}")
                return status, told if isinstance(told, dict) else {"rows": told}, error
        return status, {}, error

    def _follow(self, task: Task, lines: IO[bytes], log: IO[str]) -> dict[str, str]:
        """Read what the command says until it ends: progress is noted, the rest goes to the log."""
        error: dict[str, str] = {}
        for raw in lines:
            line = raw[:LONGEST_LINE].decode("utf-8", "replace").rstrip()
            said = _object(line)
            if "done" in said and "total" in said:
                now = self._live[task.id]
                self._change(now.with_(done=int(said["done"]), total=int(said["total"])))
            elif "error" in said:
                error = {key: str(said["error"].get(key, "")) for key in ("code", "message", "hint")}
                log.write(f"error: {redact(error['message'])[0]}\n")
            elif line:
                log.write(redact(line)[0] + "\n")
            log.flush()
        return error

    def _change(self, task: Task) -> None:
        with self._lock:
            if self._live[task.id].state != "stopped":
                self._live[task.id] = task

    def _end(self, task: Task, **more: Any) -> None:
        ended = self._live.get(task.id, task).with_(ended=utcnow(), **more)
        self._keep(ended)
        with self._lock:
            self._live.pop(task.id, None)
            self._children.pop(task.id, None)
        said = {"title": task.name, "by": task.by, "state": ended.state, "reason": redact(ended.error)[0]}
        self._ledger.append(Event(kind=Fact.TASK_ENDED, subject=task.id, payload=said))
        for old in [one for one in self.every() if not one.under_way][KEPT:]:
            (self._folder / f"{old.id}.json").unlink(missing_ok=True)
            (self._folder / f"{old.id}.log").unlink(missing_ok=True)

    def _keep(self, task: Task) -> None:
        replace_private(self._folder / f"{task.id}.json", task.model_dump_json(indent=1).encode())


def _object(line: str) -> dict[str, Any]:
    """The JSON object that a line is; empty for every other line."""
    if not line.startswith("{"):
        return {}
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
