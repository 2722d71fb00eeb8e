"""Taking a box off a machine: the programs go, data go only when that was said."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.target.commands import main


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """A prefix and a home as an upgrade leaves them; nothing runs."""
    for file in ("opt/releases/1/venv", "opt/snapshots/2/ledger.db", "opt/state/trust.json", "home/ledger.db"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x")
    (tmp_path / "opt/current").symlink_to("releases/1")
    return tmp_path


def uninstalled(box: Path, *more: str) -> int:
    return main(["uninstall", "--yes", "--prefix", str(box / "opt"), "--home", str(box / "home"), *more])


def test_data_and_what_a_snapshot_took_the_place_of_stay(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert uninstalled(box) == 0
    assert (box / "home/ledger.db").exists() and (box / "opt/snapshots/2/ledger.db").exists()
    assert {one.name for one in (box / "opt").iterdir()} == {"snapshots", "lock"}
    said = capsys.readouterr()
    assert "snapshots" in said.out + said.err and "data stay" in said.out + said.err


def test_all_goes_when_that_was_said(box: Path) -> None:
    assert uninstalled(box, "--with-data") == 0
    assert list(box.iterdir()) == []


def test_where_no_box_is_nothing_is_removed(tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/mine").write_text("x")
    assert uninstalled(tmp_path) != 0
    assert (tmp_path / "opt/mine").exists()
