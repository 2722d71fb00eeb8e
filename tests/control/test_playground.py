"""The playground: real gateway, real engines process, a small real writer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from appliance.cli.init import PLAYGROUND
from appliance.config import Home, load
from appliance.errors import UsageError
from appliance.user import Role
from control.desk import EXTENSION
from control.playground import Asked, asked_of, converse
from inference.keys import KeyStore, Terms
from models.card import WRITING
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console
from tests.control.writers import writers
from tests.inference.engines_process import until
from tests.inference.gateway_process import Gateway, free_port

TASKS = {"tiny": ("repair",), "coder": ("chat", "repair")}


def test_a_model_is_asked_for_what_it_may_do() -> None:
    form = {"words": " Hello? ", "left": "tiny", "right": "coder"}
    assert asked_of(form, "left", TASKS).task == "repair" and asked_of(form, "right", TASKS).task == "chat"
    assert asked_of(form, "left", TASKS).words == "Hello?"
    body = asked_of({**form, "system": "Be brief."}, "left", TASKS).body("ada")
    assert [one["role"] for one in body["messages"]] == ["system", "user"]
    assert body["metadata"] == {"task": "repair", "person": "ada"}


@pytest.mark.parametrize(
    "typed",
    [{"words": "  "}, {"left_turns": "[1]"}, {"left_turns": "{"},
     {"left_turns": '[{"role": "system", "content": "x"}]'},
     {"left_turns": json.dumps([{"role": "user", "content": "x"}] * 201)}, {"most_tokens": "0"},
     {"most_tokens": "many"}, {"temperature": "nan"}, {"temperature": "3"}],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_with_a_remedy(typed: dict[str, str]) -> None:
    with pytest.raises(UsageError) as refused:
        asked_of({"words": "Hello?", "left": "tiny", **typed}, "left", TASKS)
    assert refused.value.hint


def test_a_viewer_is_kept_out_and_a_gateway_that_is_away_is_told_calmly(console: Console) -> None:
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    assert viewer.get("/playground").status_code == 403 and "Playground" not in viewer.get("/models").text
    assert viewer.post("/playground", data={"csrf": csrf(viewer)}).status_code == 403
    developer = enter(console, person(console, "ada", Role.DEVELOPER).name)
    assert "Playground" in developer.get("/models").text and developer.get("/playground").status_code == 200
    sent = {"csrf": csrf(developer), "words": "Hello <b>?", "left": "auto"}
    page = developer.post("/playground", data=sent)
    assert page.status_code == 200 and "has no key to the gateway" in page.text and "Hello &lt;b&gt;?" in page.text
    assert developer.post("/playground", data={**sent, "left": ""}).status_code == 400
    assert developer.post("/playground/stream", data={**sent, "side": "middle"}).status_code == 400
    (console.home.secrets / f"{PLAYGROUND}.key").write_text("apl_x")
    settings = replace_port(console, free_port())
    assert "does not answer" in developer.post("/playground", data=sent).text, settings
    assert developer.post("/playground", data={**sent, "csrf": "x"}).status_code == 403


def replace_port(console: Console, port: int) -> int:
    """Tell the console where the gateway is."""
    desk = console.app.extensions[EXTENSION]
    gateway = desk.settings.gateway.model_copy(update={"port": port, "request_timeout_seconds": 60.0})
    console.app.extensions[EXTENSION] = replace(desk, settings=desk.settings.model_copy(update={"gateway": gateway}))
    return port


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = Home(tmp_path_factory.mktemp("box"))
    for folder in (home.root, *home.folders):
        folder.mkdir(exist_ok=True)
    with writers(home) as running:
        yield running


@pytest.fixture
def developer(gateway: Gateway) -> Iterator[FlaskClient]:
    console = Console(gateway.home)
    replace_port(console, gateway.port)
    if "ada" not in {one.name for one in console.ledger.users.all()}:
        person(console, "ada", Role.DEVELOPER)
    yield enter(console, "ada")
    console.ledger.close()


def sent(developer: FlaskClient, **more: str) -> dict[str, str]:
    return {"csrf": csrf(developer), "words": "Hello?", "most_tokens": "12", **more}


@pytest.mark.integration
def test_two_models_answer_side_by_side_without_scripts_and_the_conversation_goes_on(
    gateway: Gateway, developer: FlaskClient
) -> None:
    page = developer.post("/playground", data=sent(developer, left="tiny", right="mender"))
    assert page.status_code == 200
    figures = re.findall(r"(tiny|mender): first token after [\d.]+ s, (\d+) tokens in [\d.]+ s", page.text)
    assert [name for name, _ in figures] == ["tiny", "mender"]
    kept = re.findall(r'name="left_turns" value="([^"]+)"', page.text)[0].replace("&#34;", '"')
    assert [turn["role"] for turn in json.loads(kept)] == ["user", "assistant"]
    again = developer.post("/playground", data=sent(developer, left="tiny", left_turns=kept))
    assert again.text.count('class="turn user"') == 2 and again.text.count("Hi!</p>") == 2
    lines = until(lambda: [line for line in gateway.usage() if line.get("person")][2:])
    assert {line["person"] for line in lines} == {"ada"} and not any("Hello" in json.dumps(line) for line in lines)


@pytest.mark.integration
def test_a_stream_tells_pieces_then_figures_or_why_there_are_none(gateway: Gateway, developer: FlaskClient) -> None:
    def told(**more: str) -> list[dict[str, Any]]:
        answer = developer.post("/playground/stream", data=sent(developer, **more))
        assert answer.status_code == 200 and answer.mimetype == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]

    lines = told(side="left", left="auto")
    assert any(line.get("text") for line in lines[:-1])
    assert lines[-1]["model"] == "tiny" and lines[-1]["completion_tokens"] == 12 and lines[-1]["finish"] == "length"
    assert lines[-1]["tokens_per_second"] > 0
    assert 0 < lines[-1]["first_token_seconds"] <= lines[-1]["seconds"] and lines[-1]["route"].startswith("endless")
    (refused,) = told(side="right", right="nobody")
    assert "nobody" in refused["problem"] and "appliance model list" in refused["problem"]


@pytest.mark.integration
def test_a_call_ends_when_nobody_listens_any_more_and_limits_of_the_key_hold(gateway: Gateway) -> None:
    settings = load(gateway.home.settings_file, {}).gateway
    going = converse(gateway.home, settings, Asked(model="auto", words="Hello?", most_tokens=7900), "eve")
    next(going)
    going.close()  # type: ignore[attr-defined]
    left = until(lambda: [line for line in gateway.usage() if line.get("person") == "eve"])
    assert left[0]["error"] == "client_gone", left
    store = KeyStore(gateway.home.secrets / "keys.json")
    store.change(PLAYGROUND, lambda key: key.with_(terms=Terms(models=("mender",))))
    try:
        with pytest.raises(Exception, match="tiny"):
            list(converse(gateway.home, settings, Asked(model="tiny", words="Hello?"), "eve"))
    finally:
        store.change(PLAYGROUND, lambda key: key.with_(terms=Terms(tasks=WRITING)))


def test_the_key_keeps_what_a_person_made_of_it(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.json")
    first = store.ensure(PLAYGROUND, scopes=("infer",), terms=Terms(tasks=WRITING))
    assert store.find(PLAYGROUND).scopes == ("infer",) and store.find(PLAYGROUND).terms.tasks == WRITING
    store.change(PLAYGROUND, lambda key: key.with_(terms=Terms(models=("tiny",))))
    store.revoke(PLAYGROUND)
    assert store.ensure(PLAYGROUND, scopes=("infer",), terms=Terms(tasks=WRITING)) != first
    assert store.find(PLAYGROUND).terms == Terms(models=("tiny",))
