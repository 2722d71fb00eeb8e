"""What is done on a machine on the way from a medium to a box and back, and what it took."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.install.bare import Machine
from tests.install.releases import Medium, Press

PREFIX, HOME, USER = "/opt/appliance", "/var/lib/appliance", "appliance"

ASK = """
import http.client, ssl, sys, time
any_certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
any_certificate.check_hostname, any_certificate.verify_mode = False, ssl.CERT_NONE
port, until = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
print("asking", flush=True)
sys.stdin.close()
down, longest, start = None, 0.0, time.monotonic()
while time.monotonic() < until:
    asked = time.monotonic()
    try:
        door = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=any_certificate)
        door.request("GET", "/healthz")
        good = door.getresponse().status == 200
        door.close()
    except (OSError, http.client.HTTPException):
        good = False
    if good and down is not None:
        print(f"down {asked - down:.2f}", flush=True)
        down = None
    if not good and down is None:
        down = asked
    time.sleep(0.05)
"""
"""Asks the gateway twenty times a second and says for how long it did not answer."""


@dataclass
class Journey:
    """A press, a machine, and the rows of the table."""

    press: Press
    machine: Machine
    media: dict[str, Medium] = field(default_factory=dict)
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    calls: tuple[str, ...] = ()
    """The writing system calls of a whole run of the installer."""

    def installer(self, medium: Medium, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run install.sh of a medium."""
        command = ["sh", f"{medium.inside}/install.sh", "--fingerprint", self.press.fingerprint, *words]
        return self.machine.run(command, **more)

    def installed(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the installer that came with the release that runs."""
        return self.machine.run(["python3", f"{PREFIX}/current/installer.pyz", *words], **more)

    def appliance(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of the box as the user whom it belongs to."""
        who = ["runuser", "-u", USER, "--"]
        return self.machine.run([*who, f"{PREFIX}/current/venv/bin/appliance", "--home", HOME, *words], **more)

    def told(self, *words: str) -> Any:
        """What a command of the box says as JSON; it must succeed."""
        said = self.appliance("--json", *words)
        assert said.returncode == 0, said.stdout + said.stderr
        return json.loads(said.stdout)

    @contextmanager
    def runs(self, home: str) -> Iterator[Callable[..., Any]]:
        """Another home's box, from its start to its end; gives what tells, as JSON, what its commands say."""
        who = ["runuser", "-u", USER, "--", f"{PREFIX}/current/venv/bin/appliance", "--home", home]
        box = subprocess.Popen(
            self.machine.words([*who, "up"]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            end = time.monotonic() + 180
            while self.machine.run([*who, "status"]).returncode:
                assert time.monotonic() < end and box.poll() is None, f"the box over {home} does not come up"
            yield lambda *words: self._json([*who, "--json", *words])
        finally:
            os.killpg(box.pid, signal.SIGKILL)
            box.wait()

    def _json(self, words: Sequence[str]) -> Any:
        result = self.machine.run(words)
        assert result.returncode == 0, said(result)
        return json.loads(result.stdout)

    def release(self) -> str:
        """The release that is chosen."""
        return self.machine.path(f"{PREFIX}/current").readlink().name

    def receipt(self) -> dict[str, Any]:
        """The newest receipt."""
        files = self.machine.path(f"{PREFIX}/state/receipts").glob("*.json")
        newest = max(files, key=lambda file: file.stat().st_mtime_ns)
        found: dict[str, Any] = json.loads(newest.read_text("utf-8"))
        return found

    def renew(self) -> None:
        """Another bare machine in the place of this one."""
        self.machine.end()
        self.machine = Machine(self.machine.root, self.machine.layer, self.machine.media).boot()

    def step(self) -> str:
        """The step that the installer began last."""
        file = self.machine.path(f"{PREFIX}/state/journal.json")
        begun = json.loads(file.read_text("utf-8"))["begun"] if file.exists() else []
        return begun[-1] if begun else "before the first step"

    def report(self, title: str) -> str:
        """File a report that nobody works on, as something that must not be lost; its id."""
        kept: str = self.told("signal", "add", "--repo", "parcel", "--title", title)["signal"]
        return kept

    def knows(self, signal: str) -> bool:
        """Whether the box still has a report."""
        return signal in {one["id"] for one in self.told("signal", "list")}

    def processes(self) -> dict[str, str]:
        """How each process of the box is."""
        return {one["name"]: one["state"] for one in self.told("status")["processes"]}

    def note(self, what: str, seconds: float | str, why: str = "") -> None:
        """A row of the table, with the load of the machine."""
        shown = seconds if isinstance(seconds, str) else f"{seconds:.1f} s"
        self.rows.append((what, shown, why or f"load {os.getloadavg()[0]:.1f}"))

    @contextmanager
    def timed(self, what: str, aim: str = "") -> Iterator[None]:
        """Time what is done inside."""
        started = time.monotonic()
        yield
        self.note(what, time.monotonic() - started, f"{aim + '; ' if aim else ''}load {os.getloadavg()[0]:.1f}")

    @contextmanager
    def downtime(self, port: int = 8080, seconds: float = 600) -> Iterator[list[float]]:
        """Ask the gateway all the while; the list holds, at the end, each time it did not answer, in seconds."""
        words = self.machine.words(["python3", "-c", ASK, str(port), str(seconds)])
        asking = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        found: list[float] = []

        def read() -> None:
            assert asking.stdout is not None
            for line in asking.stdout:
                if line.startswith("down"):
                    found.append(float(line.split()[1]))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield found
            time.sleep(0.5)
        finally:
            os.killpg(asking.pid, signal.SIGKILL)  # what entered the machine is a child of what was started here
            asking.wait()
            reader.join(5)
            if asking.stdout is not None:
                asking.stdout.close()

    def table(self) -> str:
        """The rows, one a line."""
        return "\n".join(f"  {what:<44} {shown:>10}  {why}" for what, shown, why in self.rows)


def said(result: subprocess.CompletedProcess[str]) -> str:
    """All a program printed."""
    return result.stdout + result.stderr
