"""What every view works with, put into the application once per process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import current_app

from appliance.config import Home
from appliance.errors import Unavailable
from appliance.ledger import Ledger
from appliance.limits import Limits
from appliance.ports import Readable, Repository
from appliance.settings import Settings
from appliance.work import TrackedRepository
from control.tasks import Tasks
from control.uploads import Uploads

EXTENSION = "appliance.desk"


def _never() -> bool:
    return False


def _nowhere(tracked: TrackedRepository) -> Repository:
    raise Unavailable(f"the mirror of {tracked.name} cannot be looked at here", "ask the box's own console")


@dataclass
class Desk:
    """The home, its settings, the ledger as opened in this process, the mirrors as git reads them, and what is under
    way in here: long commands and uploads."""

    home: Home
    settings: Settings
    ledger: Ledger
    mirrors: Readable
    stopping: Callable[[], bool] = field(default=_never)
    """True once the server was asked to end; open streams watch it."""
    repository: Callable[[TrackedRepository], Repository] = field(default=_nowhere)
    """A repository's mirror: what is in it, and whether a patch fits."""
    limits: Limits = field(init=False)
    """What bounds the box's work, as the settings file says it now; all else of the settings is as at the start."""
    tasks: Tasks = field(init=False)
    uploads: Uploads = field(init=False)

    def __post_init__(self) -> None:
        self.limits = Limits(self.home.settings_file, self.settings)
        self.tasks = Tasks(self.home, self.ledger)
        self.uploads = Uploads(self.home, self.settings.console)


def desk() -> Desk:
    """The desk of the application that answers the current request."""
    found: Desk = current_app.extensions[EXTENSION]
    return found
