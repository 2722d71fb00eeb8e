"""`appliance up`: start the box in the foreground, all processes under one supervisor."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import click

from appliance.cli.context import Box, pass_box
from appliance.cli.first_light import first_light
from appliance.cli.init import make_home, make_models
from appliance.cli.processes import NAMES, require_free, specs
from appliance.config import Home
from appliance.errors import Conflict, UsageError
from appliance.events import Event, Fact
from appliance.ledger import open_ledger
from appliance.ledger.lease import started_at
from control.access import ensure_token
from inference.lifecycle import Phase
from inference.supervisor import Status, Supervisor

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on
"""Addresses to listen on that nobody can be told to go to."""


@click.command()
@click.option("--only", default="", help=f"Comma-separated: {', '.join(NAMES)}.")
@click.option("--sample", is_flag=True, help="Do the box's main job once on the bundled sample repository.")
@pass_box
def command(box: Box, only: str, sample: bool) -> int:
    """Start the box and keep it running until Ctrl-C."""
    wanted = tuple(only.split(",")) if only else NAMES
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        raise UsageError(f"there is no process {unknown[0]!r}", f"known: {', '.join(NAMES)}")
    started = time.monotonic()
    make_home(box.home)
    settings = box.settings
    with only_one(box.home):
        if "gateway" in wanted:
            require_free(settings.gateway.host, settings.gateway.port, "gateway.port")
        if "console" in wanted:
            require_free(settings.console.host, settings.console.port, "console.port")
        make_models(box.home, box.say)
        return run(box, wanted, sample, started)


def run(box: Box, wanted: tuple[str, ...], sample: bool, started: float) -> int:
    """Supervise until a signal. The guest thread tells what goes on and does the sample; this one is the supervisor."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _setter(stop))
    supervisor = Supervisor(on_change=lambda: publish(box.home, supervisor.statuses()))
    for spec in specs(box.home, box.settings, wanted):
        supervisor.add(spec)
        supervisor.start(spec.name)
    result: list[int] = []
    guest = threading.Thread(
        target=lambda: result.append(greet(box, supervisor, wanted, sample, started, stop)), name="greeter", daemon=True
    )
    guest.start()
    try:
        supervisor.run(stop)
    finally:
        (box.home.run / "up.json").unlink(missing_ok=True)
    box.say("the box is stopped")
    return result[0] if result else 0


def _setter(stop: threading.Event) -> Callable[[int, FrameType | None], None]:
    def handler(_number: int, _frame: FrameType | None) -> None:
        # a signal may come while the main thread holds the event's lock, so another thread sets it
        threading.Thread(target=stop.set, daemon=True).start()

    return handler


def greet(
    box: Box, supervisor: Supervisor, wanted: tuple[str, ...], sample: bool, started: float, stop: threading.Event
) -> int:
    """Wait until all is ready, say where the box is, and do the sample when asked. Returns the exit status so far."""
    told: dict[str, str] = {}
    while not stop.is_set():
        statuses = supervisor.statuses()
        for status in statuses:
            if status.state is not Phase.STOPPED and told.get(status.name) != status.state:
                told[status.name] = status.state
                box.say(
                    f"{time.monotonic() - started:6.1f} s  {status.name:<9}{status.state}  {status.reason}".rstrip()
                )
        if all(status.state is Phase.READY for status in statuses):
            break
        stop.wait(0.1)
    if stop.is_set():
        return 0
    seconds = time.monotonic() - started
    ledger = open_ledger(box.home)
    ledger.append(
        Event(kind=Fact.BOX_STARTED, subject="box", payload={"processes": wanted, "seconds": round(seconds, 2)})
    )
    box.say(f"the box is up after {seconds:.1f} s")
    done = first_light(box) if sample else True
    for line in addresses(box, wanted):
        box.say(line)
    return 0 if done else 1


def addresses(box: Box, wanted: tuple[str, ...]) -> list[str]:
    """Where people and clients find the box."""
    settings, lines = box.settings, []
    if "console" in wanted:
        token = ensure_token(box.home)
        lines.append(f"console  {settings.console.address}/?token={token}")
    if "gateway" in wanted:
        scheme, host = "https" if settings.gateway.tls else "http", settings.gateway.host
        if host in EVERYWHERE and settings.console.reached_by:
            host = settings.console.reached_by[0]
        where = f"{scheme}://{host}:{settings.gateway.port}/v1"
        lines.append(f"gateway  {where}  (a key: appliance key create NAME)")
    return [*lines, "Ctrl-C stops the box"]


@contextlib.contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Hold the home's lock. Raises Conflict when another `appliance up` runs there."""
    with (home.run / "up.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"a box is running in {home.root} already", "stop it first, or start another one with --home"
            ) from error
        yield


def publish(home: Home, statuses: Sequence[Status]) -> None:
    """Write `run/up.json` for `status` and the console, with who wrote it: one that was killed takes nothing back."""
    file = home.run / "up.json"
    temporary = file.with_suffix(".tmp")
    told = {"pid": os.getpid(), "started": started_at(os.getpid()),
            "processes": [status.as_json() for status in statuses]}  # fmt: skip
    temporary.write_text(json.dumps(told), encoding="utf-8")
    temporary.replace(file)
