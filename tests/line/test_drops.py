"""Dropped mails and files: taken when complete, each filed once, nothing lost at whatever instant it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Home
from appliance.intake.reading import read
from appliance.ledger import Ledger, open_ledger
from appliance.ledger.deliveries import Deliveries
from appliance.line.drops import Drops, forget_old, watched
from appliance.news import DeliveryState, ReportNews
from appliance.settings import IntakeSettings
from appliance.work import TrackedRepository
from tests.intake.test_mail import mail

SETTINGS = IntakeSettings(quiet_seconds=0, mail_senders=["*@site.example"], max_mb=1)


@pytest.fixture
def ledger(home: Home) -> Iterator[Ledger]:
    opened = open_ledger(home)
    opened.add_repository(TrackedRepository(name="shop", url="file:///nowhere", branch="main"))
    yield opened
    opened.close()


@pytest.fixture
def drops(home: Home, ledger: Ledger) -> Drops:
    made = watched(home, ledger, SETTINGS)
    made.look()
    return made


def titles(ledger: Ledger) -> list[str]:
    """What the waiting messages are filed as."""
    while waiting := ledger.deliveries.waiting():
        for one in waiting:
            for news in read(one, ledger.deliveries.raw(one.number), ledger.deliveries.mapping(one)):
                assert isinstance(news, ReportNews)
                ledger.receive(news.as_signal(one.repo, one.source))
            ledger.deliveries.settle(one.number, DeliveryState.DONE, "")
    return sorted(signal.title for signal, _ in ledger.signals(limit=1_000_000))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.name != ".taken") if folder.is_dir() else []


def reasons(ledger: Ledger) -> list[str]:
    return [one.why for one in ledger.deliveries.list() if one.state in ("refused", "ignored")]


def test_files_of_a_repositorys_folder_become_signals_and_move_to_done(
    home: Home, ledger: Ledger, drops: Drops
) -> None:
    folder = home.spool / "drop" / "shop"
    (folder / "a.md").write_text("\N{ZERO WIDTH NO-BREAK SPACE}# Totals are off\n\nby a cent\n", encoding="utf-8")
    (folder / "b.json").write_text('[{"title": "one", "kind": "feature"}, {"title": "two"}]')
    (folder / "half.tmp").write_text("not yet")
    assert drops.look() == 2
    assert titles(ledger) == ["Totals are off", "one", "two"]
    assert names(folder) == ["done", "half.tmp"] and names(folder / "done") == ["a.md", "b.json"]
    assert {one.source for one in ledger.deliveries.list()} == {"folder"}


def test_a_dropped_table_is_filed_row_by_row_or_not_at_all(home: Home, ledger: Ledger, drops: Drops) -> None:
    folder = home.spool / "drop" / "shop"
    ledger.change_repository("shop", mapping={"title": ("/alert/name",), "body": ("/text",), "each": ("/alerts",)})
    table = "ID;Subject;Text\n1;Totals are off;by a cent\n2;Slow;\n"
    (folder / "a.csv").write_text(table)
    (folder / "b.tsv").write_text("title\ttext\nFrom a tab\twords\n")
    assert drops.look() == 2
    assert titles(ledger) == ["From a tab", "Slow", "Totals are off"]
    (folder / "c.csv").write_text(table + "3;New;\n")
    (folder / "d.csv").write_text("id,title\n1,Totals are right\n4,Other\n")
    (folder / "e.csv").write_text("id,title\n5,Fine\n6\n")
    drops.look()
    assert titles(ledger) == ["From a tab", "New", "Slow", "Totals are off"]
    assert names(folder / "done") == ["a.csv", "b.tsv", "c.csv"]
    assert "says something else" in (folder / "failed" / "d.csv.why").read_text()
    assert "line 3: it has 1 cells" in (folder / "failed" / "e.csv.why").read_text()


def test_a_dropped_table_may_have_more_rows_than_a_webhook_may_tell_things(
    home: Home, ledger: Ledger, drops: Drops
) -> None:
    (home.spool / "drop" / "shop" / "a.csv").write_text("title\n" + "\n".join(f"row {n}" for n in range(600)))
    drops.look()
    (waiting,) = ledger.deliveries.waiting()
    assert len(read(waiting, ledger.deliveries.raw(waiting.number), {})) == 600


def test_the_same_content_is_filed_once_and_another_of_the_same_name_is_another_file(
    home: Home, ledger: Ledger, drops: Drops
) -> None:
    folder = home.spool / "drop" / "shop"
    for text in ("first\n", "first\n", "second\n"):
        (folder / "a.txt").write_text(text)
        drops.look()
    assert titles(ledger) == ["first", "second"]
    assert names(folder / "done") == ["a.2.txt", "a.3.txt", "a.txt"]


def test_what_makes_no_sense_lies_in_failed_with_its_reason_and_is_noted(
    home: Home, ledger: Ledger, drops: Drops
) -> None:
    folder, other = home.spool / "drop" / "shop", home.spool / "drop" / "nobody"
    other.mkdir()
    (folder / "a.json").write_text("{no json")
    (folder / "b.exe").write_bytes(b"MZ")
    (folder / "c.txt").write_bytes(b"\xff\xfe")
    (folder / "d.txt").write_bytes(b"x" * (1024 * 1024 + 1))
    (folder / "e.txt").symlink_to("/etc/hostname")
    (folder / ("f" * 250 + ".txt")).write_text("  \n ")
    (other / "a.txt").write_text("words\n")
    (home.spool / "drop" / "a.txt").write_text("words\n")
    drops.look()
    assert len(names(folder / "failed")) == 12 and names(folder / "done") == []
    assert "not JSON" in (folder / "failed" / "a.json.why").read_text()
    assert names(other / "failed") == names(home.spool / "drop" / "failed") == ["a.txt", "a.txt.why"]
    assert (folder / "failed" / "e.txt").is_symlink()
    told = " ".join(reasons(ledger))
    for why in ("not JSON", "none that the box reads", "UTF-8", "larger than 1 MiB", "a link", "no first line",
                "no repository 'nobody'", "no repository's folder"):  # fmt: skip
        assert why in told, why
    assert titles(ledger) == []


def test_a_file_that_was_refused_is_taken_once_it_makes_sense(home: Home, ledger: Ledger, drops: Drops) -> None:
    for mapping in ({}, {"title": ("/rule",)}):
        ledger.change_repository("shop", mapping=mapping)
        (home.spool / "drop" / "shop" / "a.json").write_text('{"rule": "Disk full"}')
        drops.look()
    assert titles(ledger) == ["Disk full"]


def test_a_file_is_left_alone_while_somebody_may_still_write_to_it(home: Home, ledger: Ledger) -> None:
    slow = watched(home, ledger, SETTINGS.model_copy(update={"quiet_seconds": 60.0}))
    slow.look()
    file = home.spool / "drop" / "shop" / "a.txt"
    file.write_text("half of")
    os.utime(file, (1, 1))  # a copying program may set the old time of change at once
    assert slow.look() == 0 and file.exists()


def test_mails_of_a_maildir_and_of_a_folder_are_filed_once_each(home: Home, ledger: Ledger, drops: Drops) -> None:
    place = home.spool / "mail"
    (place / "new" / "17.box").write_bytes(mail())
    (place / "new" / "18.box").write_bytes(mail(Auto_Submitted="auto-replied", Message_ID="<m2@x>"))
    (place / "tmp").mkdir()
    (place / "tmp" / "19.box").write_bytes(b"half")
    (place / "again.eml").write_bytes(mail())
    (place / "other.eml").write_bytes(mail(Subject="[shop] Second", Message_ID="<m3@x>"))
    (place / "stranger.eml").write_bytes(mail(From="eve@elsewhere.example", Message_ID="<m4@x>"))
    (place / "notes.txt").write_text("words")
    assert drops.look() == 6
    assert titles(ledger) == ["Second", "Totals are off"]
    assert names(place / "cur") == ["17.box:2,S", "18.box:2,S"] and names(place / "new") == []
    assert names(place / "done") == ["again.eml", "other.eml"] and names(place / "tmp") == ["19.box"]
    assert names(place / "failed") == ["notes.txt", "notes.txt.why", "stranger.eml", "stranger.eml.why"]
    assert any("machine" in why for why in reasons(ledger)) and any(
        "does not name eve" in why for why in reasons(ledger)
    )


class Killed(BaseException):
    """The process ends here."""


def steps(monkeypatch: pytest.MonkeyPatch, last: int) -> list[str]:
    """Let the process end before or after the step of this number; returns the list of steps it makes."""
    made: list[str] = []

    def reach(step: str) -> None:
        made.append(step)
        if len(made) == last:
            raise Killed

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def step(*words: Any, **more: Any) -> Any:
            reach(f"before {name}")
            result = real(*words, **more)
            reach(f"after {name}")
            return result

        monkeypatch.setattr(owner, name, step)

    for owner, name in ((Path, "rename"), (Path, "mkdir"), (Path, "rmdir"), (Path, "write_text"), (Deliveries, "take")):
        watch(owner, name)
    return made


def test_killed_at_whatever_step_it_loses_nothing_and_files_nothing_twice(
    home: Home, ledger: Ledger, drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mails = home.spool / "drop" / "shop", home.spool / "mail"
    number = 0
    while True:
        number += 1
        (folder / "a.txt").write_bytes(b"report %d\n" % number)
        (folder / "b.json").write_bytes(b"{broken %d" % number)
        (mails / "new" / f"{number}.box").write_bytes(mail(Subject=f"mail {number}", Message_ID=f"<{number}@x>"))
        with monkeypatch.context() as patch:
            made = steps(patch, number)
            try:
                drops.look()
            except Killed:
                pass
            else:
                break
        drops.look()
    assert number > 30 and len(made) < number
    assert titles(ledger) == sorted(
        [f"report {n}" for n in range(1, number + 1)] + [f"mail {n}" for n in range(1, number + 1)]
    )
    assert len(names(folder / "done")) == number and names(folder) == ["done", "failed"]
    failed = [name for name in names(folder / "failed") if not name.endswith(".why")]
    assert len(failed) == number and all((folder / "failed" / f"{name}.why").exists() for name in failed)
    assert len(names(mails / "cur")) == number and names(mails / "new") == []


LOOK = """
import sys
from pathlib import Path
from appliance.config import Home
from appliance.settings import IntakeSettings
from appliance.ledger import open_ledger
from appliance.line.drops import watched
home = Home(Path(sys.argv[1]))
drops = watched(home, open_ledger(home), IntakeSettings(quiet_seconds=0))
print("looks", flush=True)
while True:
    drops.look()
"""


@pytest.mark.integration
def test_a_process_killed_again_and_again_while_files_rain_in_files_each_once(home: Home, ledger: Ledger) -> None:
    folder = home.spool / "drop" / "shop"
    folder.mkdir(parents=True)
    total = 0
    for pause in (0.01, 0.04, 0.08):
        looker = subprocess.Popen([sys.executable, "-c", LOOK, str(home.root)], stdout=subprocess.PIPE)
        assert looker.stdout is not None
        looker.stdout.readline()
        until = time.monotonic() + pause
        while time.monotonic() < until or total % 10:
            total += 1
            draft = folder / ".draft"
            draft.write_text(f"report {total}\n")
            draft.rename(folder / f"{total % 3}.txt.{total}.txt")
        looker.send_signal(signal.SIGKILL)
        looker.wait()
        looker.stdout.close()
    last = watched(home, ledger, SETTINGS)
    while last.look():
        pass
    assert titles(ledger) == sorted(f"report {n}" for n in range(1, total + 1))
    assert len(names(folder / "done")) == total


def test_folders_that_cannot_be_used_are_told_once_and_stop_nothing(
    home: Home, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    (home.root / "file").write_text("")
    drops = watched(home, ledger, SETTINGS.model_copy(update={"mail_folder": str(home.root / "file" / "mail")}))
    drops.look()
    (home.spool / "drop" / "shop" / "a.txt").write_text("words\n")
    assert drops.look() == 1 and titles(ledger) == ["words"]
    assert len([one for one in caplog.records if "cannot make" in one.message]) <= 2


def test_nothing_is_taken_while_too_much_is_kept(home: Home, ledger: Ledger, drops: Drops) -> None:
    full = watched(home, ledger, SETTINGS.model_copy(update={"raw_mb": 1}))
    for number in range(3):
        (home.spool / "drop" / "shop" / f"{number}.txt").write_bytes(b"%d" % number + b"x" * (1024 * 1024 - 1))
    assert full.look() == 3
    (home.spool / "drop" / "shop" / "more.txt").write_text("words\n")
    assert full.look() == 0
    titles(ledger)
    forget_old(ledger, SETTINGS.model_copy(update={"raw_mb": 1}), ledger.clock.now())
    assert full.look() == 1 and ledger.deliveries.weight() < 1024 * 1024 + 100
