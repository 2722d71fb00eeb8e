"""A line and a console over one home, beside a faithful forge. One thread takes all turns, so that nothing is timed;
webhooks really arrive over HTTP, and polls are those of the real poller."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from werkzeug.serving import make_server

from appliance.config import Home
from appliance.intake import hook_secrets
from appliance.intake.hook_secrets import HookSecrets
from appliance.ledger import Ledger
from appliance.ledger.lease import Worker
from appliance.line.parts import Parts
from appliance.line.runner import Runner
from appliance.line.service import Line
from appliance.mirror.mirror import Mirror
from appliance.mirror.serving import Served
from appliance.ports import Progress
from appliance.settings import Settings
from appliance.work import Autonomy, TrackedRepository, WorkItem
from control.access import ensure_session_key, ensure_token
from control.app import create_app
from control.desk import Desk
from tests.contracts.forges.server import Server
from tests.contracts.model import ScriptedModel

SECRET = "s3cret-of-the-hook"
SETTINGS: dict[str, Any] = {
    "line": {"poll_seconds": 0.05, "sync_seconds": 0.2, "hooked_seconds": 0.2, "away_seconds": 0.4, "fetches": 1},
    "console": {"url": "https://factory.example"},
    "mirror": {"timeout_seconds": 30},
}


class Site:
    """The box as its processes have it; `restart` is a killed line that comes back."""

    def __init__(self, home: Home, server: Server, model: ScriptedModel | None = None) -> None:
        self.home, self.server = home, server
        self.settings = Settings.model_validate(SETTINGS)
        self.model = model or ScriptedModel(routes={"repair": ("search",), "embedding": ("scripted",)})
        (home.secrets / "line.key").write_text("apl_line")
        (home.secrets / "audit.key").write_bytes(b"k" * 32)
        (home.secrets / "forge-shop.token").write_text("t0ken\n")
        hook_secrets.save(home, "shop", HookSecrets(current=SECRET))
        self.restart()

    def restart(self) -> None:
        self.line = Line(self.home, self.settings)
        self.line.model = self.model  # type: ignore[assignment]
        self.runner = Runner(self.ledger, self.parts, self.settings.line, self.line.board, self.line.anchor)

    def parts(self, item: WorkItem, progress: Progress) -> Parts:
        """The line's own, with one quick scanner."""
        made = self.line.parts_for(item, progress)
        return replace(made, scanners=tuple(one for one in made.scanners if one.name == "ruff"))

    @property
    def ledger(self) -> Ledger:
        return self.line.ledger

    def look_after(self, autonomy: Autonomy = Autonomy.MEDIUM, **more: Any) -> TrackedRepository:
        """What `repo add` does."""
        mirror = Mirror(self.home, "shop", self.server.git_url(), "", self.settings.mirror)
        mirror.create()
        tracked = TrackedRepository(
            name="shop", url=mirror.url, branch=mirror.branch, forge=self.server.kind, api=self.server.url,
            project=self.server.path, autonomy=autonomy, **more,
        )  # fmt: skip
        self.ledger.add_repository(tracked)
        return tracked

    def turn(self, *, watch: bool = True) -> None:
        """One turn of everything the line does by itself, polling aside."""
        self.server.settled()
        self.line.work_off()
        self.runner.step(Worker.here())
        self.line.tell()
        if watch:
            self.line.watch()

    def until(self, what: Callable[[], Any], turns: int = 200, *, watch: bool = True) -> Any:
        """Take turns until something is so."""
        for _ in range(turns):
            if value := what():
                return value
            self.turn(watch=watch)
        came = [(one.event, one.state, one.why) for one in self.ledger.deliveries.list()]
        raise AssertionError(f"not so after {turns} turns: {[self.told(item) for item in self.ledger.items()]}, {came}")

    def item(self, state: str, stage: str = "", id: str = "W-1") -> Callable[[], WorkItem | None]:
        """Is the item in this state?"""

        def look() -> WorkItem | None:
            found = next((one for one in self.ledger.items() if one.id == id), None)
            return found if found and found.state == state and stage in ("", found.stage) else None

        return look

    @staticmethod
    def told(item: WorkItem) -> str:
        return f"{item.id} {item.state} at {item.stage}: {item.waiting_for}"

    def said(self, number: int, kind: str = "issue") -> list[str]:
        """The box's comments there."""
        return [
            one.text for one in self.server.comments
            if one.number == number and one.kind == kind and one.by == "factory"
        ]  # fmt: skip

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """The console answers, and the forge's webhooks go there."""
        desk = Desk(self.home, self.settings, self.ledger, Served(self.home.mirrors))
        app = create_app(desk, ensure_token(self.home), ensure_session_key(self.home))
        console = make_server("127.0.0.1", 0, app, threaded=True)
        self.server.hook(f"http://127.0.0.1:{console.server_port}/hooks/{self.server.kind}/shop", SECRET)
        thread = threading.Thread(target=console.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield
        finally:
            console.shutdown()
            thread.join()
            console.server_close()

    @contextmanager
    def polled(self) -> Iterator[None]:
        """The poller works."""
        stop = threading.Event()
        threads = self.line.poller.start(stop)
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
