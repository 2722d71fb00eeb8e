"""The box's command line as people use it, and a mirror as the line opens it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from appliance.cli.main import root
from appliance.config import Home
from appliance.ledger import open_ledger
from appliance.mirror.mirror import Mirror
from tests.mirror.conftest import SETTINGS


def appliance(box: Path, *words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(root, ["--home", str(box), *words], input=stdin)


def added(box: Path, name: str) -> Mirror:
    """A repository that `repo add` took."""
    home = Home(box)
    return Mirror.of(home, open_ledger(home).repository(name), SETTINGS)
