"""What is brought into the box by tasks: models from a path or an upload, repositories from a server."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field

from appliance.errors import Conflict, FactoryError, UsageError
from appliance.work import Autonomy, Noun
from control.desk import Desk
from control.tasks import Task
from control.uploads import ModelOrder, Upload

TIDY_SECONDS = 900.0
"""Between two looks for uploads that nobody went on with."""


class ModelAt(ModelOrder):
    """A model that lies on the machine already."""

    path: str = Field(min_length=1, max_length=4000, description="of the file or folder, from the root")


class NewRepository(Noun):
    """A repository that the box is to look after."""

    name: str = Field(min_length=1, max_length=100)
    url: str = Field(min_length=1, max_length=2000, description="file, ssh, http or https, without a password")
    branch: str = Field("", max_length=200, description="changes go to it; else the server's default")
    autonomy: Autonomy = Autonomy.LOW
    test: str = Field("", max_length=2000, description="command that runs its tests; else pytest")
    token: str = Field("", max_length=4000, description="TOKEN or NAME:TOKEN for http; kept with the box's secrets")


def import_path(desk: Desk, asked: ModelAt, by: str) -> Task:
    """Import what lies on the machine. Raises UsageError for what is no path from the root."""
    if not asked.path.startswith("/") or "\0" in asked.path:
        raise UsageError(f"{asked.path!r} is no path from the root", "like /media/usb/coder.gguf")
    words = ("model", "import", "--progress", *asked.words, "--", asked.path)
    return desk.tasks.begin(f"import of {Path(asked.path).name}", words, by)


def import_upload(desk: Desk, upload: Upload, by: str, order: ModelOrder | None = None) -> Task:
    """Import what came in. Raises Conflict when it is not whole, or is being imported."""
    if not desk.uploads.whole(upload):
        raise Conflict(f"{upload.files[0].name} is not here as a whole", "send the rest first")
    known = task_of(desk, upload)
    if known and known.under_way:
        raise Conflict(f"{upload.files[0].name} is being imported", f"watch the task {known.id}")
    words = ("model", "import", "--progress", *(order or upload.order).words, "--", str(desk.uploads.path(upload)))
    removes = str(desk.uploads.folder_of(upload.id))
    return desk.tasks.begin(f"import of {upload.files[0].name}", words, by, "", removes)


def task_of(desk: Desk, upload: Upload) -> Task | None:
    """The newest task that imports an upload."""
    folder = str(desk.uploads.folder_of(upload.id))
    return next((one for one in desk.tasks.every() if one.removes == folder), None)


def add_repository(desk: Desk, asked: NewRepository, by: str) -> Task:
    """Mirror a repository and look after it. Raises UsageError, Conflict."""
    if urlsplit(asked.url).password is not None:
        raise UsageError("a password in the address would be shown with it", "give it in the field for the token")
    if asked.name in {one.name for one in desk.ledger.repositories()}:
        raise Conflict(f"there is a repository {asked.name!r} already", "choose another name")
    words = ["repo", "add", f"--url={asked.url}", f"--autonomy={asked.autonomy}"]
    words += [f"--branch={asked.branch}"] if asked.branch else []
    words += [f"--test={asked.test}"] if asked.test else []
    words += ["--token-file=-"] if asked.token else []
    return desk.tasks.begin(f"repository {asked.name}", [*words, "--", asked.name], by, asked.token)


def go_on(desk: Desk) -> None:
    """Take up what a console that was ended left behind, and from then on let go of what nobody goes on with."""
    desk.tasks.resume()
    for upload in desk.uploads.every():
        if desk.uploads.whole(upload) and not task_of(desk, upload):
            import_upload(desk, upload, upload.by)
    threading.Thread(target=_tidy, args=(desk,), name="tidy", daemon=True).start()


def _tidy(desk: Desk) -> None:
    while True:
        tidy(desk)
        time.sleep(TIDY_SECONDS)


def tidy(desk: Desk) -> list[str]:
    """Let go of old uploads; their ids."""
    at_work = {one.removes.rpartition("/")[2] for one in desk.tasks.every() if one.under_way}
    try:
        return desk.uploads.forget_old(sorted(at_work))
    except (OSError, FactoryError):
        return []  # a file that went meanwhile; it is looked at again
