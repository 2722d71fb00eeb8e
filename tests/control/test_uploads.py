"""Models that come in from browsers and programs in chunks, and the tasks that import them."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from appliance.config import Home
from appliance.errors import LimitExceeded
from appliance.events import Fact
from appliance.settings import ConsoleSettings
from appliance.user import Role
from control import uploads as rooms
from control.access import ensure_token
from control.api.uploads import MEDIA
from control.bringing import NewRepository, add_repository, go_on, tidy
from control.manual import source
from control.tasks import Task, Tasks
from control.uploads import NewFile, NewUpload, Uploads
from models.registry import Registry
from tests.control.real_console import served
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console
from tests.e2e.world import remote
from tests.inference.tiny_model import write_tiny_llama

pytestmark = pytest.mark.integration

PIECE = 4096


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def begin(console: Console, content: bytes, name: str = "tiny.gguf", **more: Any) -> str:
    files = [{"name": name, "size_bytes": len(content)}]
    answer = console.program("POST", "/api/v1/uploads", json={"files": files, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def send(console: Console, where: str, offset: int, content: bytes, of: bytes | None = None) -> TestResponse:
    checksum = base64.b64encode(hashlib.sha256(content if of is None else of).digest()).decode()
    return console.program(
        "PATCH", f"{where}/0", data=content, content_type=MEDIA,
        headers={"Upload-Offset": str(offset), "Upload-Checksum": f"sha256 {checksum}"},
    )  # fmt: skip


def ended(console: Console, where: str) -> dict[str, Any]:
    until(lambda: console.program("GET", where).get_json()["state"] not in ("waiting", "running"))
    return dict(console.program("GET", where).get_json())


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return write_tiny_llama(tmp_path / "tiny.gguf").read_bytes()


@pytest.fixture
def box(console: Console) -> Console:
    """A home that commands accept."""
    console.home.settings_file.write_text("")
    return console


def test_a_model_in_chunks_goes_on_where_it_stopped_and_is_imported(box: Console, content: bytes) -> None:
    where = begin(box, content, licence="apache-2.0")
    assert send(box, where, 0, content[:PIECE]).headers["Upload-Offset"] == str(PIECE)
    assert send(box, where, 0, content[:PIECE]).status_code == 409, "it was sent twice"
    assert send(box, where, 2 * PIECE, content[:PIECE]).status_code == 409, "a piece between would be missing"
    head = box.program("HEAD", f"{where}/0")
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (str(PIECE), str(len(content)))
    assert Registry(box.home.models).list() == (), "a part is no model"
    last = send(box, where, PIECE, content[PIECE:])
    assert last.status_code == 204
    task = ended(box, last.headers["Location"])
    assert (task["state"], task["outcome"]["id"], task["outcome"]["licence"]) == ("done", "tiny", "apache-2.0")
    assert task["done"] == task["total"] == len(content)
    (card,) = Registry(box.home.models).list()
    assert card.files[0].sha256 == hashlib.sha256(content).hexdigest()
    assert box.program("GET", where).status_code == 404, "what came in is let go of"
    kinds = [one.kind for one in box.ledger.history(task["id"])]
    assert kinds == [Fact.TASK_BEGUN, Fact.TASK_ENDED]


def test_a_chunk_that_came_in_otherwise_changes_nothing(box: Console, content: bytes) -> None:
    where = begin(box, content)
    refused = send(box, where, 0, content[:PIECE], of=content[1:PIECE])
    assert refused.status_code == 422 and refused.get_json()["error"]["code"] == "verification_failed"
    without = box.program("PATCH", f"{where}/0", data=b"x", content_type=MEDIA,
                          headers={"Upload-Offset": "0"})  # fmt: skip
    assert without.status_code == 400, "no chunk without its checksum"
    assert send(box, where, 0, content + b"more").status_code == 413
    assert box.program("GET", f"{where}/0").get_json()["offset"] == 0


@pytest.mark.parametrize("left", ["bytes", "half a line"])
def test_what_a_killed_console_wrote_and_did_not_note_counts_as_not_there(
    left: str, box: Console, content: bytes
) -> None:
    where = begin(box, content)
    id = where.rpartition("/")[2]
    send(box, where, 0, content[:PIECE])
    uploads = box.home.spool / "uploads" / id
    with (uploads / ("files/tiny.gguf" if left == "bytes" else "0.chunks")).open("ab") as file:
        file.write(b"12 ab")
    fresh = Uploads(box.home, ConsoleSettings())  # the next process
    assert fresh.arrived(fresh.get(id))[0].offset == PIECE
    for at in range(PIECE, len(content), PIECE):
        piece = content[at : at + PIECE]
        checksum = base64.b64encode(hashlib.sha256(piece).digest()).decode()
        fresh.take(id, 0, at, piece, f"sha256 {checksum}")
    assert fresh.path(fresh.get(id)).read_bytes() == content


def test_what_is_no_model_is_refused_by_the_gate_and_can_be_let_go_of(box: Console) -> None:
    pickle = b"\x80\x04\x95" + b"x" * 100
    where = begin(box, pickle, name="tiny.gguf")
    task = ended(box, send(box, where, 0, pickle).headers["Location"])
    assert task["state"] == "failed" and task["error"]
    assert Registry(box.home.models).list() == ()
    page = box.browser().get("/uploads").text
    assert task["error"] in page.replace("&#39;", "'") and "Let go of it" in page
    assert box.program("DELETE", where).get_json()["removed"] is True
    assert not (box.home.spool / "uploads" / where.rpartition("/")[2]).exists()


@pytest.mark.parametrize("name", ["../tiny.gguf", "a/b", ".hidden", "", "x\n"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, console: Console) -> None:
    asked = {"files": [{"name": name, "size_bytes": 1}]}
    assert console.program("POST", "/api/v1/uploads", json=asked).status_code == 400
    assert console.program("GET", "/api/v1/uploads/..%2F..%2Fsecrets").status_code == 404


def test_how_much_may_come_in_is_bounded_by_what_was_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    one = NewUpload(files=(NewFile(name="a.gguf", size_bytes=600 * 1024),))
    small = Uploads(home, ConsoleSettings(upload_gb=1024 * 1024 / 1024**3))
    small.begin(one, "ada")
    with pytest.raises(LimitExceeded, match="on their way in"):
        small.begin(one, "ada")
    monkeypatch.setattr(rooms, "SPARE", 2**60)
    with pytest.raises(LimitExceeded, match="until it is imported"):
        Uploads(home, ConsoleSettings()).begin(one, "ada")


def test_what_nobody_goes_on_with_is_removed_and_what_is_new_stays(console: Console, content: bytes) -> None:
    old, new = (begin(console, content).rpartition("/")[2] for _ in range(2))
    past = time.time() - timedelta(hours=ConsoleSettings().upload_hours, minutes=1).total_seconds()
    folder = console.home.spool / "uploads" / old
    for file in (*folder.iterdir(), folder):
        os.utime(file, (past, past))
    here = console.app.extensions["appliance.desk"]
    assert tidy(here) == [old]
    assert [one.id for one in here.uploads.every()] == [new]


def test_an_import_that_was_killed_with_the_console_is_taken_up_by_the_next_one(
    box: Console, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = box.app.extensions["appliance.desk"]
    with monkeypatch.context() as patched:
        patched.setattr(Tasks, "_start", lambda *_: None)  # the console is killed before the child has begun
        where = send(box, begin(box, content), 0, content).headers["Location"]
    here.tasks = Tasks(box.home, box.ledger)
    assert box.program("GET", where).get_json()["state"] == "waiting"
    go_on(here)
    assert ended(box, where)["state"] == "done"
    assert [card.id for card in Registry(box.home.models).list()] == ["tiny"]


def test_a_whole_upload_whose_import_was_never_asked_for_is_imported(
    box: Console, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = box.app.extensions["appliance.desk"]
    with monkeypatch.context() as patched:
        patched.setattr("control.api.uploads.import_upload", lambda *_: Task(id="T-0", name="", words=(), by="",
                        begun=here.uploads.every()[0].begun))  # fmt: skip
        send(box, begin(box, content), 0, content)
    go_on(here)
    until(lambda: [card.id for card in Registry(box.home.models).list()] == ["tiny"])
    until(lambda: here.tasks.every()[0].state == "done")


def test_a_model_on_the_machine_is_imported_from_its_path(box: Console, tmp_path: Path, content: bytes) -> None:
    operator = enter(box, person(box, "ada", Role.OPERATOR).name)
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / "coder.gguf").write_bytes(content)
    sent = {"csrf": csrf(operator), "path": str(tmp_path / "usb" / "coder.gguf"), "id": "mine"}
    where = operator.post("/uploads", data=sent).headers["Location"]
    task = ended(box, f"/api/v1{where}")
    assert (task["state"], task["outcome"]["id"], task["by"]) == ("done", "mine", "ada")
    page = operator.get(where).text
    assert "appliance model import --progress --id=mine" in page and "/models/mine" in page
    assert operator.post("/uploads", data={**sent, "path": "coder.gguf"}).status_code == 400
    asked = {"path": "/nowhere/x.gguf"}
    away = ended(box, "/api/v1/tasks/" + box.program("POST", "/api/v1/models", json=asked).get_json()["id"])
    assert away["state"] == "failed" and "there is no file" in away["error"] and away["hint"]


def test_a_task_whose_child_is_killed_has_failed_and_can_be_asked_for_again_and_stopped(box: Console) -> None:
    here = box.app.extensions["appliance.desk"]
    task = here.tasks.begin("slow", ("serve", "line"), "ada")
    until(lambda: task.id in here.tasks._children)
    os.kill(here.tasks._children[task.id].pid, signal.SIGKILL)
    told = ended(box, f"/api/v1/tasks/{task.id}")
    assert told["state"] == "failed" and "-9" in told["error"]
    next_one = box.program("POST", f"/api/v1/tasks/{task.id}/again").get_json()["id"]
    until(lambda: next_one in here.tasks._children)
    assert box.program("POST", f"/api/v1/tasks/{next_one}/stop").status_code == 202
    assert ended(box, f"/api/v1/tasks/{next_one}")["state"] == "stopped"
    assert box.program("POST", f"/api/v1/tasks/{next_one}/stop").status_code == 409
    assert box.program("GET", "/api/v1/tasks/T-..").status_code == 404


def test_a_token_goes_in_by_standard_input_and_is_written_nowhere(box: Console, tmp_path: Path) -> None:
    here = box.app.extensions["appliance.desk"]
    canary = "glpat-" + "s3cretcanary" * 2
    asked = NewRepository(name="shop", url=f"file://{tmp_path}/none", token=f"bot:{canary}")
    task = add_repository(here, asked, "ada")
    told = ended(box, f"/api/v1/tasks/{task.id}")
    assert told["state"] == "failed" and told["error"]
    tasks = box.home.spool / "tasks"
    assert all(canary.encode() not in file.read_bytes() for file in tasks.iterdir())
    assert canary not in str([one.payload for one in box.ledger.tail()])
    refused = box.program("POST", "/api/v1/repositories", json={"name": "x", "url": "https://a:b@git.example/x"})
    assert refused.status_code == 400 and "password" in refused.text


def test_a_repository_is_added_from_its_form_by_an_administrator_alone(box: Console, tmp_path: Path) -> None:
    bare = remote(tmp_path, "shop", {"rates.py": "x = 1\n"})
    operator = enter(box, person(box, "eve", Role.OPERATOR).name)
    assert operator.get("/repositories/new").status_code == 403
    root = enter(box, person(box, "ada", Role.ADMINISTRATOR).name)
    sent = {"csrf": csrf(root), "name": "shop", "url": bare.as_uri(), "autonomy": "medium"}
    where = root.post("/repositories/new", data=sent).headers["Location"]
    assert ended(box, f"/api/v1{where}")["state"] == "done"
    assert box.ledger.repository("shop").autonomy == "medium"
    assert "file a signal" in root.get(where).text
    refused = root.post("/repositories/new", data=sent)
    assert refused.status_code == 409 and "already" in refused.text and bare.as_uri() in refused.text


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="the manual's example uses curl and jq")
def test_the_manuals_program_goes_on_after_the_console_was_killed(home: Home, tmp_path: Path, content: bytes) -> None:
    (script,) = re.findall(r"```\n(URL=.*?)```", source("models"), re.DOTALL)
    first = content[: 1024 * 1024]
    with served(home) as (_, port):  # killed with SIGKILL at the end
        sender = Program(port, ensure_token(home))
        id = sender("POST", "/api/v1/uploads", {"files": [{"name": "tiny.gguf", "size_bytes": len(content)}]})["id"]
        checksum = base64.b64encode(hashlib.sha256(first).digest()).decode()
        headers = {"Upload-Offset": "0", "Upload-Checksum": f"sha256 {checksum}", "Content-Type": MEDIA}
        sender("PATCH", f"/api/v1/uploads/{id}/0", first, headers)
    with served(home) as (_, port):
        script = script.replace("https://box.example:8443", f"http://127.0.0.1:{port}").replace(
            "coder.gguf", "tiny.gguf"
        )
        script = re.sub(r"(?m)^ID=.*$", f"ID={id}", script)
        ran = subprocess.run(["bash", "-eu", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
                             env={"PATH": os.environ["PATH"], "TOKEN": ensure_token(home)}, timeout=60)  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        until(lambda: [card.id for card in Registry(home.models).list()] == ["tiny"])
    (card,) = Registry(home.models).list()
    assert card.files[0].sha256 == hashlib.sha256(content).hexdigest()


class Program:
    """Calls over a real socket."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token

    def __call__(
        self, method: str, path: str, body: bytes | dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        told = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, sent, told)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status < 300, said
        return dict(json.loads(said or b"{}"))
