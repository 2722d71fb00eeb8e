from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.config import Home, documented, load, render
from appliance.errors import ConfigError
from appliance.settings import ConsoleSettings, Settings


def test_no_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml", {}) == Settings()


def test_the_file_that_is_written_reads_back_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text(render(Settings()))
    assert load(file, {}) == Settings()
    assert set(tomllib.loads(file.read_text())) == set(Settings.model_fields)


def test_the_environment_overrides_one_field(tmp_path: Path) -> None:
    environment = {
        "APPLIANCE_LINE_WORKERS": "7",
        "APPLIANCE_AUTONOMY_CAP": "low",
        "APPLIANCE_ENGINES_PRELOAD": '["a", "b"]',
        "APPLIANCE_HOME": "/elsewhere",
        "OTHER": "x",
    }
    settings = load(tmp_path / "none.toml", environment)
    assert (settings.line.workers, settings.autonomy.cap, settings.engines.preload) == (7, "low", ["a", "b"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[line]\nworkrs = 1", "line.workrs: unknown; the nearest known name is 'workers'"),
        ("[lines]\nworkers = 1", "lines: unknown; the nearest known name is 'line'"),
        ("[line]\nworkers = 0", "line.workers"),
        ("[autonomy]\ncap = 'total'", "autonomy.cap"),
        ("[line\n", "not valid TOML"),
        ("workers = 1", "workers: unknown"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"not valid") as caught:
        load(file, {})
    assert words in caught.value.message and caught.value.hint


def test_a_misspelt_variable_is_refused_like_a_misspelt_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workrs"):
        load(tmp_path / "none.toml", {"APPLIANCE_LINE_WORKRS": "1"})


def test_every_setting_carries_its_meaning() -> None:
    rows = documented()
    assert len(rows) > 40
    assert all(row["description"] for row in rows)


def test_a_model_has_a_section_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text('[models."coder-7b.q4"]\npin = true\nslots = 2\n')
    settings = load(file, {})
    assert settings.models["coder-7b.q4"].pin and settings.models["coder-7b.q4"].slots == 2
    file.write_text(render(settings))
    assert load(file, {}) == settings
    file.write_text('[models."coder-7b.q4"]\npinn = true\n')
    with pytest.raises(ConfigError, match=r"models\.coder-7b\.q4\.pinn: unknown; the nearest known name is 'pin'"):
        load(file, {})


@given(st.text(max_size=30))
def test_any_text_survives_the_settings_file(text: str) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        return
    settings = Settings.model_validate({"mirror": {"author_name": text}})
    assert tomllib.loads(render(settings))["mirror"]["author_name"] == text


def test_the_home_comes_from_option_environment_or_the_working_folder() -> None:
    assert Home.from_environment("/a", {"APPLIANCE_HOME": "/b"}).root == Path("/a")
    assert Home.from_environment(None, {"APPLIANCE_HOME": "/b"}).root == Path("/b")
    assert Home.from_environment(None, {}).root == Path.cwd() / "var"


def test_links_point_to_the_address_that_is_set_or_to_what_the_other_settings_make_of_it() -> None:
    assert ConsoleSettings(url="https://factory.example/").address == "https://factory.example"
    assert ConsoleSettings(host_names=["box"], port=99).address == "http://box:99"
    for wrong in ("factory.example", "javascript:alert(1)", "https://user:word@factory.example"):
        with pytest.raises(ValidationError):
            ConsoleSettings(url=wrong)
