"""`appliance signal import`, and the same through the API: all rows or none, each filed once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli.main import root
from appliance.errors import LimitExceeded, NotFound, UsageError
from tests.control.world import Console, Site

TABLE = "ID;Subject;Text;Customer\n1;Totals are off;by a cent;Mira\n2;Slow;;Omar\n"


def run(console: Console, file: Path, *words: str, repo: str = "shop", as_json: bool = True) -> Any:
    console.home.settings_file.touch()
    start = ["--home", str(console.home.root), *(["--json"] if as_json else [])]
    done = CliRunner().invoke(root, [*start, "signal", "import", str(file), "--repo", repo, *words])
    if done.exception:
        raise done.exception
    return json.loads(done.stdout) if as_json else done.stdout


def titles(console: Console) -> list[str]:
    return [signal.title for signal, _ in console.ledger.signals("shop") if signal.source.startswith("csv:")]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "feedback.csv"
    file.write_text(TABLE)
    return file


def test_each_row_becomes_a_signal_once_however_often_it_is_imported(console: Console, site: Site, table: Path) -> None:
    dry = run(console, table, "--dry-run")
    assert (dry["new"], dry["filed"], titles(console)) == (2, [], [])
    first = run(console, table, "--mapping", "kind==feedback", "--mapping", "by=customer")
    assert [one["line"] for one in first["filed"]] == [2, 3]
    signal, _ = console.ledger.signal(first["filed"][0]["signal"])
    assert (signal.title, signal.body, signal.kind, signal.author) == (
        "Totals are off",
        "by a cent",
        "feedback",
        "Mira",
    )
    table.write_text(TABLE + "3;New;;\n")
    again = run(console, table, "--mapping", "by=customer")
    assert ([one["line"] for one in again["filed"]], len(again["known"])) == ([4], 2)
    assert sorted(titles(console)) == ["New", "Slow", "Totals are off"]
    assert "1 to be filed" not in run(console, table, "--mapping", "by=customer", as_json=False)


def test_nothing_is_filed_unless_all_rows_are_good_or_the_bad_ones_may_be_skipped(
    console: Console, site: Site, table: Path
) -> None:
    table.write_text(TABLE + "4;;x;\n5;too;many;cells;here\n")
    with pytest.raises(UsageError, match="line 4: it has no title; line 5: it has 5 cells"):
        run(console, table)
    assert titles(console) == []
    told = run(console, table, "--skip-bad", as_json=False)
    assert "line 4: it has no title" in told and "2 filed, 2 bad" in told
    assert len(titles(console)) == 2
    other = table.with_name("other.csv")
    other.write_text("id,title\n1,Something else\n")
    with pytest.raises(UsageError, match="says something else"):
        run(console, other)
    assert len(run(console, other, "--keys", "june-")["filed"]) == 1


def test_an_unknown_repository_and_too_large_a_file_are_refused(console: Console, site: Site, table: Path) -> None:
    with pytest.raises(NotFound):
        run(console, table, repo="nope")
    with pytest.raises(UsageError):
        run(console, table.with_name("none.csv"))
    table.write_bytes(b"title\n" + b"x" * 6_000_000)
    with pytest.raises(LimitExceeded):
        run(console, table)


def test_a_program_sends_the_table_as_the_body(console: Console, site: Site) -> None:
    path = "/api/v1/signals/import?repo=shop&mapping=by%3DCustomer"
    dry = console.program("POST", f"{path}&dry_run=true", data=TABLE)
    assert (dry.status_code, dry.json["new"], titles(console)) == (200, 2, [])
    assert len(console.program("POST", path, data=TABLE).json["filed"]) == 2
    again = console.program("POST", path, data=TABLE)
    assert (again.status_code, len(again.json["known"])) == (200, 2)
    assert console.program("POST", path, data=TABLE + "9;;;\n").status_code == 400
    assert console.program("POST", f"{path}&skip_bad=yes", data=TABLE).status_code == 400
    assert console.program("POST", "/api/v1/signals/import", data=TABLE).status_code == 404
    assert console.program("POST", path, data=b"x" * 6_000_000).status_code == 413
    assert console.stranger().post(path, data=TABLE).status_code == 401
