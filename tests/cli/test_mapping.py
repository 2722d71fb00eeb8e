"""`appliance repo mapping`: shown, tried, set and cleared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli.main import root
from appliance.config import Home
from appliance.errors import UsageError
from appliance.ledger import open_ledger
from appliance.work import TrackedRepository


def call(home: Home, *words: str) -> Any:
    done = CliRunner().invoke(root, ["--home", str(home.root), "--json", "repo", "mapping", "shop", *words])
    if done.exception:
        raise done.exception
    return json.loads(done.stdout)


@pytest.fixture
def shop(home: Home) -> Home:
    home.settings_file.write_text("")
    ledger = open_ledger(home)
    ledger.add_repository(TrackedRepository(name="shop", url="file:///nowhere", branch="main"))
    ledger.close()
    return home


def test_a_mapping_is_tried_without_a_change_then_set_and_cleared(shop: Home, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text('{"rule": {"name": "Disk full"}, "id": 4}')
    places = ("--set", "title=/none", "--set", "title=/rule/name", "--set", "kind==incident")
    (report,) = call(shop, *places, "--try", str(payload))
    assert (report["title"], report["kind"], report["key"]) == ("Disk full", "incident", "4")
    assert call(shop)["mapping"] == {}
    assert call(shop, *places)["mapping"] == {"title": ["/none", "/rule/name"], "kind": ["=incident"]}
    assert call(shop, "--try", str(payload)) == [report]
    assert call(shop, "--clear")["mapping"] == {}


def test_what_is_no_mapping_is_refused_and_nothing_changes(shop: Home) -> None:
    for words in ("title", "titel=/a", "title=a"):
        with pytest.raises(UsageError):
            call(shop, "--set", words)
    assert call(shop)["mapping"] == {}
