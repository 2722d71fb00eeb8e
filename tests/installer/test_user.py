"""The box's own user: who owns what, and what root never gives away by accident."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.target import running, user
from installer.target.places import Places

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

NOBODY = 65534


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    (made / "secrets").mkdir(parents=True)
    for name in ("ledger.db", "secrets/audit.key"):
        (made / name).write_text("x")
    (made / "link").symlink_to("/etc/shadow")
    return made


def owners(home: Path) -> set[int]:
    return {place.lstat().st_uid for place in (home, *home.rglob("*"))}


def test_a_home_of_roots_is_handed_over_whole_and_once(home: Path) -> None:
    assert user.hand_over(home, "nobody") == 5
    assert owners(home) == {NOBODY} and Path("/etc/shadow").stat().st_uid == 0
    assert user.hand_over(home, "nobody") == 0


def test_a_hand_over_that_was_cut_short_begins_anew(home: Path) -> None:
    os.chown(home / "ledger.db", NOBODY, NOBODY)
    user.hand_over(home, "nobody")
    assert owners(home) == {NOBODY}


def test_a_file_of_roots_that_the_user_linked_into_its_home_stays_roots(home: Path, tmp_path: Path) -> None:
    user.hand_over(home, "nobody")
    (tmp_path / "roots").write_text("root's own")
    (home / "mine").hardlink_to(tmp_path / "roots")
    user.hand_over(home, "nobody")
    user.give([home / "mine"], home)
    assert (tmp_path / "roots").stat().st_uid == 0


def test_what_root_wrote_into_the_home_becomes_its_owners(home: Path) -> None:
    user.hand_over(home, "nobody")
    (home / "ledger.db").unlink()
    (home / "ledger.db").write_text("restored")
    user.give([home / "ledger.db", home / "not-there"], home)
    assert owners(home) == {NOBODY}


def test_programs_stay_roots_and_can_be_read_but_not_changed(tmp_path: Path) -> None:
    places = Places(tmp_path / "opt", tmp_path / "home")
    program = places.release("r") / "venv" / "bin" / "appliance"
    program.parent.mkdir(parents=True)
    program.write_text("x")
    program.chmod(0o700)
    note = places.release("r") / "note"
    note.write_text("x")
    note.chmod(0o666)
    os.chown(note, NOBODY, NOBODY)
    places.snapshots.mkdir(mode=0o700)
    user.programs(places)
    assert stat.S_IMODE(program.stat().st_mode) == 0o755 and stat.S_IMODE(note.stat().st_mode) == 0o644
    assert note.stat().st_uid == 0 and stat.S_IMODE(places.snapshots.stat().st_mode) == 0o700
    assert user.programs(places) == 0


@pytest.fixture
def reached() -> Iterator[Path]:
    """A folder that other users reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_commands_over_the_home_run_as_its_owner(home: Path, reached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(reached / "opt", home)
    program = places.release("r") / "venv" / "bin" / "appliance"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho $(id -u) $(id -G) $(umask) $HOME $USER ${TMPDIR:-none}\n")
    program.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(reached))
    assert running.command(places, places.release("r"), []).stdout.split()[0] == "0"
    user.hand_over(home, "nobody")
    said = running.command(places, places.release("r"), []).stdout.split()
    assert said[0] == str(NOBODY) and said[1:-4] == [str(NOBODY)] and said[-1] == "none"
    assert said[-4] == "0077" and said[-2] == "nobody"


def test_root_is_no_user_for_a_box_and_one_that_is_there_is_taken_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="is root"):
        user.ensure("root", tmp_path)
    assert not user.ensure("nobody", tmp_path)
    user.remove("nobody")  # the installer did not make it
    assert user.known("nobody") is not None


MADE = """
import os, sys
from pathlib import Path
from installer.target import user
home = Path("/var/lib/appliance")
assert user.ensure("appliance", home) and not user.ensure("appliance", home) and user.made("appliance")
user.hand_over(home, "appliance")
number = user.known("appliance").pw_uid
assert number < 1000 and user.known("appliance").pw_shell == "/usr/sbin/nologin" and user.belongs(home) == "appliance"
user.remove("appliance")
assert user.known("appliance") is None and user.belongs(home) == ""
assert user.ensure("appliance", home) and user.known("appliance").pw_uid == number
user.remove("appliance")
"""


def test_a_user_is_made_removed_and_made_again_with_the_number_its_home_has(tmp_path: Path) -> None:
    """In a mount namespace with an /etc and a /var/lib of its own, so that the machine's users stay as they are."""
    for name in ("etc", "work", "lib"):
        (tmp_path / name).mkdir()
    here = Path(__file__).parents[2]
    (tmp_path / "try.py").write_text(MADE)
    inside = (
        f"mount -t overlay overlay -o lowerdir=/etc,upperdir={tmp_path}/etc,workdir={tmp_path}/work /etc && "
        f"mount --bind {tmp_path}/lib /var/lib && PYTHONPATH={here} {sys.executable} {tmp_path}/try.py"
    )
    said = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", inside], capture_output=True, text=True
    )
    if "mount:" in said.stderr:
        pytest.skip(f"no overlay here: {said.stderr.strip()}")
    assert said.returncode == 0, said.stderr
    assert user.known("appliance") is None
