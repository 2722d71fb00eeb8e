"""What every view works with, put into the application once per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import current_app

from appliance.config import Home
from appliance.ledger import Ledger
from appliance.ports import Readable
from appliance.settings import Settings

EXTENSION = "appliance.desk"


def _never() -> bool:
    return False


@dataclass
class Desk:
    """The home, its settings, the ledger as opened in this process, and the mirrors as git reads them."""

    home: Home
    settings: Settings
    ledger: Ledger
    mirrors: Readable
    stopping: Callable[[], bool] = field(default=_never)
    """True once the server was asked to end; open streams watch it."""


def desk() -> Desk:
    """The desk of the application that answers the current request."""
    found: Desk = current_app.extensions[EXTENSION]
    return found
