"""A droid's steps as a page, and every kept file to be saved, held to its digest."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from appliance.cli.main import root
from appliance.errors import VerificationFailed
from control.trajectory import told
from tests.control.world import Console, Site, steps


def test_an_attempt_is_told_step_by_step(console: Console, site: Site) -> None:
    browser = console.browser()
    assert f"/items/{site.waiting}/trajectory/{site.trajectory}" in browser.get(f"/items/{site.waiting}").text
    page = browser.get(f"/items/{site.waiting}/trajectory/{site.trajectory}").text
    assert "an edit" in page and "1 test fails" in page and "900 + 45 tokens" in page


def test_a_program_lists_and_reads_the_files(console: Console, site: Site) -> None:
    listed = console.program("GET", f"/api/v1/items/{site.waiting}/evidence").json["evidence"]  # type: ignore[index]
    assert [one["file"] for one in listed] == [site.trajectory]
    answer = console.program("GET", f"/api/v1/items/{site.waiting}/evidence/{site.trajectory}")
    assert answer.data == steps("")


def test_the_command_line_lists_and_prints_them(console: Console, site: Site) -> None:
    (console.home.root / "appliance.toml").touch()
    run = CliRunner().invoke(root, ["--home", str(console.home.root), "item", "evidence", site.waiting])
    assert site.trajectory in run.output, run.output
    run = CliRunner().invoke(
        root, ["--home", str(console.home.root), "item", "evidence", site.waiting, site.trajectory]
    )
    assert run.output.encode() == steps("")


@pytest.mark.parametrize("name", ["other.json", "..%2f..%2fsecrets%2fapi.token", "%2e%2e"])
def test_what_the_item_does_not_name_is_not_there(name: str, console: Console, site: Site) -> None:
    assert console.program("GET", f"/api/v1/items/{site.waiting}/evidence/{name}").status_code == 404
    assert console.browser().get(f"/items/{site.live}/evidence/{site.trajectory}").status_code == 404


def test_a_changed_file_is_refused_in_words(console: Console, site: Site) -> None:
    (console.home.evidence / site.waiting / site.trajectory).write_text("{}")
    answer = console.browser().get(f"/items/{site.waiting}/trajectory/{site.trajectory}")
    assert answer.status_code != 200 and "not what was kept" in answer.text


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"agent": 1, "final_metrics": 2}', b"\xff"])
def test_what_is_no_trajectory_is_said_to_be_none(document: bytes) -> None:
    with pytest.raises(VerificationFailed, match="no trajectory"):
        told(document)
