"""Starting the box where it cannot start: each with its reason and remedy, and nothing half-done."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli import init
from appliance.cli.first_light import make_remote
from appliance.cli.init import set_up
from appliance.cli.processes import NAMES, answers, fresh, listens, specs
from appliance.cli.up import only_one
from appliance.config import Home
from appliance.errors import ConfigError, Conflict
from appliance.settings import Settings
from tests.e2e.world import free_port, git


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the two things that take seconds and have tests of their own."""
    monkeypatch.setattr(init, "ensure_ngram", lambda _folder, _progress: None)
    monkeypatch.setattr(init, "ensure_default", lambda _registry, _progress: type("Card", (), {"id": "m"}))


def up(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", "up", "--home", str(home)],
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.integration
def test_a_taken_port_is_named_with_its_setting(tmp_path: Path, taken: int) -> None:
    done = up(tmp_path / "home", APPLIANCE_GATEWAY_PORT=str(taken))
    assert done.returncode == 1
    assert f"error: cannot listen on 127.0.0.1:{taken}" in done.stderr
    assert "gateway.port" in done.stderr
    assert not (tmp_path / "home" / "run" / "up.json").exists()


@pytest.mark.integration
def test_a_wrong_setting_stops_the_start_before_anything_runs(tmp_path: Path) -> None:
    done = up(tmp_path / "home", APPLIANCE_LINE_WORKRS="2")
    assert done.returncode == 2
    assert "the nearest known name is 'workers'" in done.stderr


def test_a_home_that_cannot_be_written_is_said_so(tmp_path: Path, quick: None) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="cannot be written") as caught:
        set_up(Home(tmp_path / "file" / "home"), lambda _line: None)
    assert "--home" in caught.value.hint


def test_setting_up_twice_keeps_everything(home: Home, quick: None) -> None:
    assert "appliance.toml" in set_up(home, lambda _line: None)
    kept = {path: path.read_bytes() for path in home.secrets.iterdir()}
    home.settings_file.write_text("[line]\nworkers = 7\n")
    home.routes_file.write_text("# the site's own\n")
    set_up(home, lambda _line: None)
    assert {path: path.read_bytes() for path in home.secrets.iterdir()} == kept
    assert home.settings_file.read_text() == "[line]\nworkers = 7\n"
    assert home.routes_file.read_text() == "# the site's own\n"


def test_secrets_are_readable_by_their_owner_alone(home: Home, quick: None) -> None:
    set_up(home, lambda _line: None)
    assert home.secrets.stat().st_mode & 0o077 == 0
    open_to_others = [path.name for path in home.secrets.iterdir() if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_two_boxes_on_one_home_are_impossible(home: Home) -> None:
    with only_one(home), pytest.raises(Conflict, match="is running"), only_one(home):
        pass


def test_every_process_has_a_command_a_log_and_a_probe(home: Home) -> None:
    free = Settings.model_validate({name: {"port": free_port()} for name in ("gateway", "console")})
    made = specs(home, free, NAMES)
    assert [spec.name for spec in made] == list(NAMES)
    assert all(spec.log.parent == home.logs and not spec.probe() for spec in made), "nothing runs here"
    assert [spec.name for spec in specs(home, Settings(), ("line",))] == ["line"]


def test_probes_say_no_of_what_is_not_there(home: Home, taken: int) -> None:
    (home.run / "line.json").write_text('{"pid": 999999999, "at": 0}')
    assert not fresh(home.run / "line.json")
    assert not listens(home.run / "learning.sock")
    assert not answers("127.0.0.1", 1)


def test_the_samples_remote_is_made_once_and_has_one_failing_test(home: Home) -> None:
    remote = make_remote(home)
    first = git(remote, "rev-parse", "main")
    assert make_remote(home) == remote and git(remote, "rev-parse", "main") == first
    assert "tests/test_rates.py" in git(remote, "ls-tree", "-r", "--name-only", "main")
