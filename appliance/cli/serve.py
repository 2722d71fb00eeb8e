"""`appliance serve PROCESS`: run one process of the box in the foreground (what `up` and the units start)."""

from __future__ import annotations

import importlib
import logging

import click

from appliance.backup import binding
from appliance.cli import notifying
from appliance.cli.context import Box, pass_box

ROOTS = {
    "gateway": "inference.gateway",
    "engines": "inference.engines",
    "line": "appliance.line.service",
    "learning": "appliance.learning",
    "console": "control",
}
"""process → the module whose `serve(home, settings)` is its composition root. Loaded here, so that each process has
only its own code in memory."""

WITHOUT_LEDGER = frozenset({"engines"})
"""Runs others' programs over others' files; its unit shows it neither ledger nor secrets."""


@click.command()
@click.argument("process", type=click.Choice(sorted(ROOTS)))
@pass_box
def command(box: Box, process: str) -> int:
    """Run one PROCESS of the box in the foreground, without supervision."""
    box.require_home()
    if process not in WITHOUT_LEDGER:
        binding.check(box.home)
    watched = notifying.begin(box.home, box.settings, process)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it announces each of its plugins at every start
    status: int = importlib.import_module(ROOTS[process]).serve(box.home, box.settings)
    if watched:
        notifying.ended(box.home, process)
    return status
