"""What a box that does not run, or lacks a part, is said to have failed at; a whole one is proved by installing it."""

from __future__ import annotations

import json

import pytest

from appliance.cli import prove
from appliance.cli.context import Box
from appliance.cli.main import main
from appliance.config import Home, render
from appliance.errors import Unavailable
from appliance.events import Fact
from appliance.ledger import open_ledger
from appliance.ledger.audit import write_anchor
from appliance.settings import Settings
from inference.keys import KeyStore
from models.card import Card
from models.registry import Registry

KEY = b"k" * 32


@pytest.fixture
def box(home: Home) -> Box:
    home.settings_file.write_text(render(Settings()))
    (home.secrets / "audit.key").write_bytes(KEY)
    KeyStore(home.secrets / "keys.json").ensure("line")
    ledger = open_ledger(home)
    write_anchor(home.secrets / "ledger.anchor", *ledger.tip(), KEY)
    ledger.close()
    return Box(home, True, False)


# httpcore leaves a socket open whose connection was refused
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_box_that_does_not_run_fails_by_name(
    box: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prove, "PATIENCE_SECONDS", 0.1)
    assert main(["prove", "--json", "--home", str(box.home.root)]) == 5
    found = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name for name, row in found.items() if row["verdict"] == "fail"} == {
        "engines", "gateway", "line", "learning", "console", "embedding",
    }  # fmt: skip
    assert found["answer"]["verdict"] == "warn" and "no model that writes" in found["answer"]["found"]
    assert found["git fetch"]["verdict"] == found["audit"]["verdict"] == "pass"


def test_the_fetch_is_a_real_one_and_leaves_nothing(box: Box) -> None:
    (row,) = prove.git(box)
    assert row.verdict == "pass"
    assert list(box.home.computers.iterdir()) == list(box.home.mirrors.iterdir()) == []


def test_the_entry_is_in_the_audit_chain(box: Box) -> None:
    (row,) = prove.audit(box)
    assert row.verdict == "pass"
    ledger = open_ledger(box.home)
    assert [event.kind for event in ledger.tail(0, 10)][-1] == Fact.BOX_PROVED
    ledger.close()


def test_a_broken_model_that_writes_is_a_failure_where_one_is_configured(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Door:
        def chat(self, *_: object, **__: object) -> None:
            raise Unavailable("the engine ended", "see its log")

        def close(self) -> None:
            """Nothing is open."""

    writer = Card(
        id="writer", architecture="llama", parameters=1, context_tokens=1, embedding_length=1, quantisation="F32",
        sha256="0" * 64, size_bytes=1, tasks=("chat",),
    )  # fmt: skip
    monkeypatch.setattr(Registry, "list", lambda _: [writer])
    monkeypatch.setattr(prove, "_gateway", lambda _: Door())
    (row,) = prove.answer(box)
    assert row.verdict == "fail" and "writer: the engine ended" in row.found
