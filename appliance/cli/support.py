"""`appliance support`: what others need to help, without secrets, to be read before it leaves."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import click
import psutil
from sqlalchemy import func, select

from appliance import __version__
from appliance.backup.support import Mask, Text, contents_of, secrets_of, text_in, write
from appliance.cli.context import Box, pass_box, table
from appliance.cli.doctor import CHECKS, guarded
from appliance.cli.status import read
from appliance.config import shown
from appliance.errors import FactoryError
from appliance.ledger import open_ledger, schema
from appliance.ledger.backups import standing
from appliance.ledger.database import sqlite_version
from appliance.settings import Settings
from appliance.work import utcnow
from models.registry import Registry

TAIL_BYTES = 512 * 1024
"""Of each log's end."""


@click.group()
def command() -> None:
    """The support bundle."""


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@pass_box
def create(box: Box, file: Path) -> None:
    """Write what others need to help into FILE.tar.gz: no secret, no prompt, no code. `support show` reads it."""
    box.require_home()
    texts = list(gathered(box))
    made = write(file.absolute(), texts, Mask(secrets_of(box.home)), utcnow(), __version__)
    box.emit(made.model_dump(mode="json"), f"{len(made.entries)} texts are in {file}; read them before it leaves: "
             f"appliance support show {file}")  # fmt: skip


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("name", default="")
@pass_box
def show(box: Box, file: Path, name: str) -> None:
    """List what is in a bundle; with NAME, print that."""
    if name:
        text = text_in(file, name)
        box.emit({"name": name, "text": text}, text.rstrip("\n"))
        return
    contents = contents_of(file)
    rows = [(one.name, one.size, one.what) for one in contents.entries]
    box.emit(contents.model_dump(mode="json"), table("NAME", "BYTES", "WHAT IT IS", rows=rows))


def gathered(box: Box) -> Iterator[Text]:
    """Everything that goes in. A part that cannot be had says why: a box in trouble is what bundles are for."""
    yield Text("versions.json", "the programs", _json(versions()))
    yield Text("hardware.json", "the machine", _json(hardware(box)))
    yield Text("settings.txt", "settings in force; * is not the default", _tried(lambda: in_force(box)))
    box.say("asking the doctor")
    rows = [row._asdict() for check in CHECKS for row in guarded(check, box)]
    yield Text("doctor.json", "what the doctor finds", _json(rows))
    states = {name: read(box.home.run / f"{name}.json") for name in ("up", "engines", "line")}
    yield Text("processes.json", "what runs, as it said last", _json(states))
    yield Text("ledger.json", "how many of what are in the ledger", _tried(lambda: _json(counts(box))))
    yield Text("rules.toml", "the routing rules", _tried(lambda: box.home.routes_file.read_text("utf-8")))
    yield Text("models.json", "the models on the box", _tried(lambda: _json(models(box))))
    for log in sorted(box.home.logs.glob("*.log")):
        yield Text(f"logs/{log.name}", f"its last {TAIL_BYTES // 1024} KiB", _tail(log))


def versions() -> dict[str, Any]:
    """The box's program, what it stands on, and every package that is installed with it."""
    git = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    packages = {str(one.name): one.version for one in distributions()}
    return {"appliance": __version__, "python": sys.version, "sqlite": sqlite_version(), "git": git,
            "system": platform.platform(), "packages": dict(sorted(packages.items()))}  # fmt: skip


def hardware(box: Box) -> dict[str, Any]:
    """Cores, memory and disk in bytes, GPUs as their driver names them."""
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(box.home.root)
    gpus = ""
    if tool := shutil.which("nvidia-smi"):
        asked = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False, timeout=30)
        gpus = asked.stdout or asked.stderr
    return {
        "processor": platform.processor() or platform.machine(), "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg(), "memory_total": memory.total, "memory_available": memory.available,
        "disk_total": disk.total, "disk_free": disk.free, "gpus": gpus.splitlines(),
    }  # fmt: skip


def in_force(box: Box) -> str:
    """Every setting with its value, a line each."""
    now, usual = shown(box.settings), shown(Settings())
    return "\n".join(f"{'*' if value != usual[name] else ' '} {name} = {value}" for name, value in now.items()) + "\n"


def counts(box: Box) -> dict[str, Any]:
    """Numbers alone: what was said is not in them."""
    ledger = open_ledger(box.home)
    events, signals, deliveries = schema.events, schema.signals, schema.deliveries
    with ledger.database.reading() as connection:
        kinds = connection.execute(select(events.c.kind, func.count()).group_by(events.c.kind)).all()
        received = connection.scalar(select(func.count()).select_from(signals))
        messages = connection.execute(select(deliveries.c.state, func.count()).group_by(deliveries.c.state)).all()
    kept = {
        "events": ledger.tip()[0], "by_kind": {row[0]: row[1] for row in kinds}, "items": ledger.counts(),
        "signals": received, "deliveries": {row[0]: row[1] for row in messages},
        "repositories": len(ledger.repositories()), "bytes": box.home.ledger.stat().st_size,
        "backup": standing(ledger).model_dump(mode="json"),
    }  # fmt: skip
    ledger.close()
    return kept


def models(box: Box) -> dict[str, Any]:
    """Their ids, formats and sizes in bytes, and what is wrong with folders that are none."""
    registry = Registry(box.home.models)
    cards = [{"id": card.id, "format": str(card.format), "bytes": card.size_bytes} for card in registry.list()]
    return {"models": cards, "problems": registry.problems()}


def _tail(log: Path) -> str:
    with log.open("rb") as source:
        source.seek(max(0, source.seek(0, os.SEEK_END) - TAIL_BYTES))
        return source.read().decode("utf-8", "replace")


def _tried(work: Callable[[], str]) -> str:
    try:
        return work()
    except FactoryError as error:
        return f"could not be had: {error.message} ({error.hint})\n"
    except OSError as error:
        return f"could not be had: {error}\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, default=str, ensure_ascii=False) + "\n"
