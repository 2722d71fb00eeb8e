"""Files that attempts and verdicts rest on: named by content, held to their digest, found by what names them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from appliance.errors import NotFound, VerificationFailed
from appliance.evidence import keep, named, read
from appliance.work import Attempt, Kept, Result, Verdict, WorkItem


def test_what_is_kept_is_read_again_and_only_for_this_user(tmp_path: Path) -> None:
    kept = keep(tmp_path / "W-1", "trajectory", "json", b"{}")
    assert read(tmp_path / "W-1", kept) == b"{}"
    assert stat.S_IMODE((tmp_path / "W-1" / kept.file).stat().st_mode) == 0o600


def test_a_second_run_keeps_its_own_and_the_same_content_is_one_file(tmp_path: Path) -> None:
    first, again, other = (keep(tmp_path, "secure", "sarif", content) for content in (b"a", b"a", b"b"))
    assert first == again and first.file != other.file
    assert read(tmp_path, first) == b"a"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_changed_or_is_gone_is_said_and_not_shown(tmp_path: Path) -> None:
    kept = keep(tmp_path, "secure", "sarif", b"clean")
    (tmp_path / kept.file).write_bytes(b"forged")
    with pytest.raises(VerificationFailed, match="not what was kept"):
        read(tmp_path, kept)
    (tmp_path / kept.file).unlink()
    with pytest.raises(NotFound, match="cannot be read"):
        read(tmp_path, kept)


def test_files_are_found_in_attempts_verdicts_and_events_and_never_outside_the_folder() -> None:
    def kept(name: str) -> dict[str, str]:
        return {"file": name, "sha256": "0" * 64}

    item = WorkItem(
        id="W-1", repo="shop", title="t",
        attempts=(Attempt(n=1, strategy="droid", outcome="none", trajectory=Kept(**kept("now.json"))),),
        verdicts=(Verdict(gate="secure", verdict=Result.PASS, evidence={"sarif": kept("s.sarif")}),),
    )  # fmt: skip
    told = [{"facts": {"attempt 1": {"trajectory": kept("before.json")}}}, {"x": [kept("../../secrets/api.token")]}]
    assert set(named(item, iter(told))) == {"now.json", "s.sarif", "before.json"}
