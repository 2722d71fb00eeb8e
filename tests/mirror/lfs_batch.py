"""A git server with Git LFS: the batch API and basic transfer of its published documents, over a folder of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mirror.http_server import GitServer, Handler, running

KIND = "application/vnd.git-lfs+json"


class LfsServer(GitServer):
    """`elsewhere` is where files are said to be instead of here, `redirect` where whoever asks for one is sent to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.files = root / "lfs-files"
        self.files.mkdir()
        self.heard: list[str] = []
        self.elsewhere = self.redirect = ""
        self.spoil = self.refuse = False

    def handler(self) -> type[Handler]:
        return LfsHandler


class LfsHandler(Handler):
    server: LfsServer

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.heard.append(self.path)
        (self.server.files / hashlib.sha256(content).hexdigest()).write_bytes(content)
        self.say(200, b"")

    def answer(self, body: bytes) -> None:
        if "/info/lfs/" not in self.path and "/files/" not in self.path:
            return super().answer(body)
        self.server.heard.append(self.path)
        if self.server.login and not self.admitted(self.server.login):
            return self.say(401, b"{}")
        if self.path.endswith("/info/lfs/objects/batch") and self.headers.get("Content-Type", "").startswith(KIND):
            return self.say(200, json.dumps({"transfer": "basic", "objects": self.offered(json.loads(body))}).encode())
        if "/files/" in self.path and self.command == "GET":
            return self.file()
        if self.path.endswith("/files/verify"):
            there = (self.server.files / json.loads(body)["oid"]).exists()
            return self.say(200 if there else 404, b"{}")
        return self.say(404, b"{}")

    def offered(self, asked: dict) -> list[dict]:
        objects = []
        for one in asked["objects"]:
            there = (self.server.files / one["oid"]).exists()
            action = {"href": f"{self.server.elsewhere or self.server.url('files')}/{one['oid']}"}
            if self.server.refuse:
                actions = {"error": {"code": 403, "message": "quota\x1b"}}
            elif asked["operation"] == "upload":
                actions = (
                    {}
                    if there
                    else {"actions": {"upload": action, "verify": {"href": self.server.url("files/verify")}}}
                )
            elif there:
                actions = {"actions": {"download": {**action, "header": {"X-Ticket": "t"}}}}
            else:
                actions = {"error": {"code": 404, "message": "not there"}}
            objects.append({**one, **actions})
        return objects

    def file(self) -> None:
        file = self.server.files / self.path.rpartition("/")[2]
        if self.server.redirect:
            self.send_response(302)
            self.send_header("Location", self.server.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif not file.is_file() or self.headers.get("X-Ticket") != "t":
            self.say(404, b"{}")
        else:
            content = file.read_bytes()
            self.say(200, content[::-1] if self.server.spoil else content)

    def say(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", KIND)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def lfs_serving(root: Path) -> Iterator[LfsServer]:
    """A running server on a free port."""
    with running(LfsServer(root)) as server:
        yield server
