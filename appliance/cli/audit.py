"""`appliance audit`: prove that the ledger was not altered."""

from __future__ import annotations

import click

from appliance.cli.context import Box, pass_box
from appliance.errors import VerificationFailed
from appliance.ledger import open_ledger
from appliance.ledger.audit import verify as verify_ledger


@click.group()
def command() -> None:
    """The audit chain."""


@command.command()
@pass_box
def verify(box: Box) -> None:
    """Walk the whole hash chain and compare it with the anchor kept outside the database."""
    box.require_home()
    key = (box.home.secrets / "audit.key").read_bytes()
    found = verify_ledger(open_ledger(box.home), box.home.secrets / "ledger.anchor", key)
    if not found.ok:
        raise VerificationFailed(f"the audit chain is broken: {found.problem}", "compare the ledger with a backup")
    box.emit(
        found.model_dump(), f"{found.events} events, chain unbroken up to {found.tip[:16]}, {found.anchored} anchored"
    )
