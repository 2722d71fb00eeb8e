"""A ledger without the secrets it was made with does not start, and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.backup import binding
from appliance.cli.init import give_up_secrets, make_home
from appliance.cli.main import main
from appliance.config import Home
from appliance.errors import Conflict, VerificationFailed
from appliance.events import Event, Fact
from appliance.ledger import open_ledger
from appliance.ledger.audit import verify_home, write_anchor


@pytest.fixture
def box(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    make_home(home)
    return home


def test_a_new_home_names_its_secrets_and_the_names_tell_nothing_of_them(box: Home) -> None:
    (event,) = open_ledger(box).history("secrets")
    said = event.payload["fingerprints"]
    assert set(said) == {"audit.key", "console.codes"} and binding.check(box)
    for name, fingerprint in said.items():
        assert fingerprint.encode() not in (box.secrets / name).read_bytes()
    make_home(box)
    assert len(open_ledger(box).history("secrets")) == 1


@pytest.mark.parametrize("name", binding.NAMES)
def test_a_missing_or_other_secret_refuses_to_start_and_nothing_is_made_in_its_place(box: Home, name: str) -> None:
    file = box.secrets / name
    kept = file.read_bytes()
    file.unlink()
    with pytest.raises(VerificationFailed, match=f"missing: {name}") as refused:
        make_home(box)
    assert "backup restore" in refused.value.hint and not file.exists()
    file.write_bytes(os.urandom(40).hex().encode())
    with pytest.raises(VerificationFailed, match=f"not those of this ledger: {name}"):
        make_home(box)
    file.write_bytes(kept)
    file.chmod(0o600)
    assert make_home(box) == []


@pytest.mark.parametrize("words", [("init",), ("up",), ("serve", "line"), ("serve", "gateway"), ("backup", "create")])
def test_every_way_to_start_refuses(box: Home, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    (box.secrets / "audit.key").unlink()
    assert main(["--home", str(box.root), *words]) == 5
    assert "secrets that this ledger was made with are missing: audit.key" in capsys.readouterr().err


def test_the_doctor_says_so(box: Home, capsys: pytest.CaptureFixture[str]) -> None:
    (box.secrets / "console.codes").write_text("another" * 8)
    assert main(["--home", str(box.root), "doctor"]) == 1
    assert "secrets      these secrets are not those of this ledger: console.codes" in capsys.readouterr().out


def test_a_home_from_before_is_bound_at_its_next_start_and_one_without_its_key_is_not(tmp_path: Path) -> None:
    home = Home(tmp_path / "old")
    for folder in (home.root, *home.folders):
        folder.mkdir()
    ledger = open_ledger(home)
    ledger.append(Event(kind=Fact.BOX_STARTED, subject="box"))
    with pytest.raises(VerificationFailed, match=r"secrets/audit\.key is missing"):
        make_home(home)
    (home.secrets / "audit.key").write_bytes(b"k" * 32)
    write_anchor(home.secrets / "ledger.anchor", *ledger.tip(), b"k" * 32)
    assert not binding.check(home)
    make_home(home)
    assert binding.check(home) and verify_home(ledger, home).ok


def test_who_lost_the_secrets_for_good_begins_with_new_ones_and_the_chain_tells_of_it(box: Home) -> None:
    with pytest.raises(Conflict, match="those of this ledger"):
        give_up_secrets(box)
    for file in box.secrets.iterdir():
        file.unlink()
    give_up_secrets(box)
    make_home(box)
    ledger = open_ledger(box)
    assert len(ledger.history("secrets")) == 2 and verify_home(ledger, box).ok and binding.check(box)


def test_the_check_costs_a_process_little(box: Home) -> None:
    code = "import sys, appliance.backup.binding; print(sorted(set(sys.modules) & {'sqlalchemy', 'pyrage', 'flask'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
