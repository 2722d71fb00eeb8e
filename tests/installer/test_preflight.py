"""Rows of the preflight: verdict, what was found, and a fix for everything that does not pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from installer import preflight
from installer.commands import dispatch
from installer.preflight import Row, clock, disk, memory, python, sandbox, sqlite, temporary
from tests.installer.world import checkout


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (python((3, 10, 14)), "fail"),
        (python((3, 11, 2)), "pass"),
        (python((3, 13, 9)), "pass"),
        (python((3, 14, 0)), "fail"),
        (disk(2.9, "/x"), "fail"),
        (disk(3.0, "/x"), "warn"),
        (disk(10.0, "/x"), "pass"),
        (memory(1.9), "fail"),
        (memory(4.0), "warn"),
        (memory(24.0), "pass"),
        (clock(0.0), "warn"),
        (clock(2e9), "pass"),
        (temporary(["rw", "noexec"]), "warn"),
        (temporary(["rw"]), "pass"),
        (sandbox(None), "fail"),
        (sandbox("bwrap: No permissions to create new namespace"), "warn"),
        (sandbox(""), "pass"),
        (sqlite(None), "warn"),
        (sqlite("3.40.1"), "fail"),
        (sqlite("3.51.3"), "pass"),
        (sqlite("3.100.0"), "pass"),
    ],
)
def test_a_row_is_judged_by_what_was_found(row: Row, verdict: str) -> None:
    assert row.verdict == verdict
    assert row.found and bool(row.fix) == (verdict != "pass")


def test_the_mount_with_the_longest_point_decides(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text("a / ext4 rw 0 0\nb /tmp tmpfs rw,noexec 0 0\nc /tmp/deep tmpfs rw 0 0\n", "utf-8")
    assert preflight._mount_options(Path("/tmp"), table) == ["rw", "noexec"]
    assert preflight._mount_options(Path("/tmp/deep/er"), table) == ["rw"]
    assert preflight._mount_options(Path("/tmpfile"), table) == ["rw"]
    assert preflight._mount_options(Path("/tmp"), tmp_path / "nothing") == []


def test_this_machine_is_looked_at_row_by_row(tmp_path: Path) -> None:
    rows = preflight.look(checkout(tmp_path))
    assert [row.name for row in rows] == ["python", "disk", "memory", "clock", "temporary files", "sandbox", "sqlite"]


def test_the_preflight_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    status = dispatch(["preflight", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {frozenset(row) for row in rows} == {frozenset({"name", "verdict", "found", "fix"})}
    assert status == int(any(row["verdict"] == "fail" for row in rows))
