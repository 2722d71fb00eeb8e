"""Limits of the box: read anew while it runs, and the most restrictive reading when the file is bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config import Home, load, render
from appliance.errors import ConfigError, Conflict, UsageError
from appliance.events import Fact
from appliance.ledger import open_ledger
from appliance.ledger.limits import LimitsFile
from appliance.limits import Limits, changes, wanted
from appliance.settings import Settings
from appliance.settings_file import edited
from appliance.work import Autonomy

COMMENTED = """# ours
[line]   # the line
workers = 3

[autonomy]
max_files = 10  # small changes
# never these
protected_paths = [
    "a/**",  # the site's
]
"""


@pytest.fixture
def file(home: Home) -> Path:
    home.settings_file.write_text(COMMENTED)
    return home.settings_file


def test_a_change_keeps_comments_order_and_every_other_line(file: Path) -> None:
    text = edited(COMMENTED, {"autonomy.max_files": 5, "droid.steps": 7})
    assert text.replace("max_files = 5", "max_files = 10").startswith(COMMENTED)
    file.write_text(text)
    made = load(file)
    assert (made.autonomy.max_files, made.droid.steps, made.line.workers) == (5, 7, 3)


@pytest.mark.parametrize("text", ["autonomy = 3\n", "[autonomy\n"])
def test_a_file_that_cannot_be_changed_is_told_of(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot be changed"):
        edited(text, {"autonomy.max_files": 5})


def test_limits_are_read_anew_when_the_file_changes_and_nothing_else_is(file: Path) -> None:
    limits = Limits(file, load(file))
    assert limits.now().autonomy.max_files == 10
    file.write_text(COMMENTED.replace("max_files = 10", "max_files = 2").replace("workers = 3", "workers = 9"))
    assert limits.now().autonomy.max_files == 2
    assert limits.now().line.workers == 3, "what needs a restart waits for one"


@pytest.mark.parametrize("bad", ["[autonomy]\nmax_files = 0\n", "[autonomy\n", "[autonomy]\nmax_file = 3\n", None])
def test_a_bad_or_missing_file_is_read_as_the_most_restrictive_and_heals(file: Path, bad: str | None) -> None:
    limits = Limits(file, load(file))
    if bad is None:
        file.unlink()
    else:
        file.write_text(bad)
    assert limits.now().autonomy.cap is Autonomy.OFF and limits.problem
    assert limits.now().autonomy.protected_paths == ["a/**"], "what was protected stays so"
    file.write_text(COMMENTED)
    assert limits.now().autonomy.cap is Autonomy.HIGH and not limits.problem


def test_a_change_says_what_is_looser() -> None:
    before = Settings()
    after = wanted(before, {"autonomy.cap": "medium", "autonomy.max_files": "20", "autonomy.protected_paths": ["x"]})
    assert [(one.name, one.looser) for one in changes(before, after)] == [
        ("autonomy.cap", False), ("autonomy.max_files", True), ("autonomy.protected_paths", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"autonomy.max_files": 0}, "greater than or equal"), ({"autonomy.cap": "highest"}, "autonomy.cap"),
        ({"console.port": 1}, "not to be changed here"), ({"autonomy.protected_paths": [" "]}, "patterns"),
        ({"autonomy.protected_paths": ["x"] * 501}, "patterns"), ({"droid.seconds": "long"}, "droid.seconds"),
    ],
)  # fmt: skip
def test_what_is_no_limit_or_no_value_changes_nothing(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        wanted(Settings(), values)


def test_a_change_is_in_the_file_and_in_the_audit_chain_with_who_and_why(home: Home, file: Path) -> None:
    file.chmod(0o640)
    ledger = open_ledger(home)
    kept = LimitsFile(home, ledger)
    seen = kept.digest()
    kept.save({"autonomy.max_files": 5}, "ada", "smaller for now", seen)
    assert load(file).autonomy.max_files == 5 and file.stat().st_mode & 0o777 == 0o640
    (event,) = ledger.history("limits")
    told = {"name": "autonomy.max_files", "before": "10", "after": "5", "looser": False}
    assert (event.kind, event.payload["by"], event.payload["why"]) == (Fact.LIMITS_CHANGED, "ada", "smaller for now")
    assert event.payload["changes"] == [told]
    with pytest.raises(Conflict, match="since you began"):
        kept.save({"autonomy.max_files": 6}, "ada", "again", seen)
    for given, why in (({"autonomy.max_files": 5}, "same"), ({"autonomy.max_files": 4}, " ")):
        with pytest.raises(UsageError):
            kept.save(given, "ada", why)
    assert load(file).autonomy.max_files == 5 and len(ledger.history("limits")) == 1
    assert [one.name for one in home.root.glob(".appliance.toml*")] == []
    ledger.close()


def test_what_the_environment_sets_is_not_changed_in_the_file(
    home: Home, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_AUTONOMY_MAX_FILES", "3")
    ledger = open_ledger(home)
    with pytest.raises(UsageError, match="APPLIANCE_AUTONOMY_MAX_FILES"):
        LimitsFile(home, ledger).save({"autonomy.max_files": 5}, "ada", "more")
    assert file.read_text() == COMMENTED and ledger.history("limits") == []
    ledger.close()


def test_a_file_as_init_writes_it_can_be_changed(home: Home) -> None:
    home.settings_file.write_text(render(Settings()))
    ledger = open_ledger(home)
    LimitsFile(home, ledger).save({"autonomy.protected_paths": ["a/**", 'b"c'], "droid.seconds": 90}, "ada", "why")
    assert load(home.settings_file).autonomy.protected_paths == ["a/**", 'b"c']
    ledger.close()
