"""Backups and the support bundle in the console: how they stand, one now as a task, read before it leaves."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.backup.sealing import new_identity
from appliance.backup.support import Mask, Text, secrets_of, text_in, write
from appliance.cli.init import make_home
from appliance.cli.main import main
from appliance.config import Home
from appliance.errors import Conflict, VerificationFailed
from appliance.events import Event, Fact
from appliance.ledger.backups import Standing, is_due, warning
from appliance.settings import BackupSettings
from appliance.user import Role
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console

NOW = datetime(2026, 11, 27, tzinfo=UTC)
KNOWN = "Tr0ub4dor-and-3-staples"
LIKE = "ghp_" + "Q7" * 18


def wants_backups(console: Console) -> None:
    _, public = new_identity()
    console.home.settings_file.write_text(f'[backup]\nrecipients = ["{public}"]\n')


def test_the_page_says_how_to_begin_and_who_may_make_one(console: Console) -> None:
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    page = viewer.get("/backups").text
    assert "No backup yet" in page and "appliance backup keys" in page and "Back up now" not in page
    assert "nobody to seal them for" in page and "A backup is missing" not in viewer.get("/").text
    wants_backups(console)
    assert "A backup is missing" in viewer.get("/").text
    assert viewer.post("/backups", data={"csrf": csrf(viewer)}).status_code == 403
    assert "Back up now" in enter(console, person(console, "ada", Role.OPERATOR).name).get("/backups").text


@pytest.mark.integration
def test_a_backup_is_made_as_a_task_and_shown(console: Console) -> None:
    make_home(console.home)
    wants_backups(console)
    operator = enter(console, person(console, "ada", Role.OPERATOR).name)
    answer = operator.post("/backups", data={"csrf": csrf(operator)})
    assert answer.status_code == 303
    task = answer.headers["Location"].rpartition("/")[2]
    until = time.monotonic() + 60
    while (told := console.program("GET", f"/api/v1/tasks/{task}").get_json())["state"] in ("waiting", "running"):
        assert time.monotonic() < until, told
        time.sleep(0.1)
    assert told["state"] == "done", told
    seen = console.program("GET", "/api/v1/backups").get_json()
    (one,) = seen["backups"]
    assert one["name"] == seen["standing"]["name"] == told["outcome"]["name"] and seen["warning"] == ""
    assert one["name"] in operator.get("/backups").text
    assert "A backup is missing" not in operator.get("/").text


def test_a_folder_that_is_away_is_said_and_the_ledger_still_tells_of_the_newest(console: Console) -> None:
    made = {"name": "20261127T000000Z-00000000", "bytes": 5, "manifest_sha256": ""}
    console.ledger.append(Event(kind=Fact.BACKUP_MADE, subject="backup", payload=made))
    console.home.settings_file.write_text('[backup]\nfolder = "/nowhere/backups"\n')
    seen = console.program("GET", "/api/v1/backups").get_json()
    assert "is its disk mounted" in seen["problem"] and seen["standing"]["name"] == made["name"]


def test_when_a_backup_is_due_and_when_people_are_warned() -> None:
    settings = BackupSettings(recipients=["age1x"], every_hours=24, warn_days=3)
    made = Standing(made=NOW - timedelta(hours=23), name="x")
    assert is_due(NOW, settings, Standing()) == "there is none yet"
    assert is_due(NOW, settings, made) == "" and is_due(NOW + timedelta(hours=1), settings, made)
    failing = Standing(failed=NOW - timedelta(minutes=59), why="full")
    assert is_due(NOW, settings, failing) == "" and is_due(NOW + timedelta(minutes=2), settings, failing)
    assert is_due(NOW, BackupSettings(every_hours=24), Standing()) == ""
    assert is_due(NOW, settings.model_copy(update={"every_hours": 0}), Standing()) == ""
    assert warning(NOW, settings, made) == ("", "")
    assert "no backup was made yet: full" in warning(NOW, settings, failing)[0]
    old = made.with_(made=NOW - timedelta(days=4), failed=NOW, why="full", hint="free space")
    assert warning(NOW, settings, old) == ("the newest backup is 4.0 days old; the last try failed: full", "free space")


# --- the support bundle


@pytest.fixture
def planted(console: Console, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A secret in every place: files of secrets, settings, logs, reports, the environment."""
    home = console.home
    make_home(home)
    (home.secrets / "git-shop").write_text(f"bot:{KNOWN}")
    (home.secrets / "hook-shop.json").write_text(json.dumps({"current": {"secret": KNOWN + "-hook"}}))
    (home.secrets / "forge-shop.token").write_text(LIKE + "\n")
    home.settings_file.write_text(f'[mirror]\nauthor_name = "{KNOWN} {LIKE}"\n')
    lines = [f"login {KNOWN} failed", f"https://bot:{KNOWN}@git.example/x", f"Authorization: Bearer {LIKE}",
             f"key {(home.secrets / 'audit.key').read_bytes().hex()}",
             f"in base64 {base64.b64encode(KNOWN.encode())!r}",
             f"token {(home.secrets / 'console.token').read_text()}", f"said {KNOWN}-hook"]  # fmt: skip
    (home.logs / "line.log").write_text("\n".join(lines) + "\nthe line works\n")
    home.routes_file.write_text(f'# {KNOWN}\n[[rule]]\nname = "{LIKE}"\n')
    monkeypatch.setenv("APPLIANCE_KEY", "apl_" + "envsecret1234567890")
    console.ledger.append(Event(kind=Fact.BOX_STARTED, subject="box", payload={"why": f"report says {KNOWN}"}))
    return home


def spellings(home: Home) -> set[bytes]:
    token = (home.secrets / "console.token").read_text().strip()
    texts = {KNOWN, LIKE, "apl_envsecret1234567890", base64.b64encode(KNOWN.encode()).decode(), token,
             (home.secrets / "audit.key").read_bytes().hex()}  # fmt: skip
    return {text.encode() for text in texts}


def inside(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]


@pytest.mark.integration
def test_no_secret_is_in_the_bundle_and_what_is_in_it_can_be_read_first(console: Console, planted: Home) -> None:
    operator = enter(console, person(console, "ada", Role.OPERATOR).name)
    assert operator.get("/system/support").status_code == 404
    content = console.program("POST", "/api/v1/system/support").data
    made = operator.get("/system/support")
    assert made.status_code == 200 and "Read it before it leaves" in made.text and "the line works" in made.text
    assert operator.get("/system/support/support.tar.gz").data == content
    texts = inside(content)
    assert set(texts) == {"manifest.json", "versions.json", "hardware.json", "settings.txt", "doctor.json",
                          "processes.json", "ledger.json", "rules.toml", "models.json", "logs/line.log"}  # fmt: skip
    for secret in spellings(planted):
        assert not [name for name, text in texts.items() if secret in text], secret
        assert secret not in made.data
    assert b"mirror.author_name" in texts["settings.txt"] and b"the line works" in texts["logs/line.log"]
    listed = {one["name"]: one["size"] for one in json.loads(texts["manifest.json"])["entries"]}
    assert listed == {name: len(text) for name, text in texts.items() if name != "manifest.json"}
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    assert viewer.get("/system/support").status_code == 403
    assert viewer.post("/system/support", data={"csrf": csrf(viewer)}).status_code == 403


def test_a_secret_that_would_slip_through_means_no_bundle(tmp_path: Path) -> None:
    class Blind(Mask):
        def __call__(self, text: str) -> str:
            return text

    with pytest.raises(VerificationFailed, match="a secret would be in"):
        write(tmp_path / "b.tar.gz", [Text("a.txt", "a", f"x {KNOWN}")], Blind([KNOWN]), NOW, "1")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_was_altered_or_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "b.tar.gz"
    write(file, [Text("a.txt", "a text", "hello")], Mask([]), NOW, "1")
    assert text_in(file, "a.txt") == "hello"
    with pytest.raises(Conflict, match="there already"):
        write(file, [], Mask([]), NOW, "1")
    assert main(["support", "show", str(file)]) == 0 and "a text" in capsys.readouterr().out
    assert main(["support", "show", str(file), "b.txt"]) == 4
    for bad in (b"", b"junk", file.read_bytes()[:-30]):
        (tmp_path / "bad.tar.gz").write_bytes(bad)
        assert main(["support", "show", str(tmp_path / "bad.tar.gz"), "a.txt"]) == 5


def test_words_that_occur_by_chance_are_left_in_and_the_longer_secret_goes_first(home: Home) -> None:
    (home.secrets / "a.token").write_text("short\n")
    (home.secrets / "b.token").write_text("abcdefgh1\n")
    (home.secrets / "c.token").write_text("abcdefgh1-and-more\n")
    (home.secrets / "keys.json").write_text('{"keys": [{"name": "a-good-name-1"}]}')
    mask = Mask(secrets_of(home))
    assert mask("short a-good-name-1 abcdefgh1-and-more abcdefgh1") == "short a-good-name-1 [secret] [secret]"
