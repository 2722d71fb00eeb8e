"""The models of the box on page and API, told by the real engines process."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.user import Role
from models.importing import import_model
from models.registry import Registry
from tests.control.test_accounts import csrf, enter, person
from tests.control.world import Console
from tests.inference.engines_process import running_engines, until
from tests.inference.tiny_model import write_tiny_llama

pytestmark = pytest.mark.integration


def test_a_box_whose_engines_do_not_run_says_so_calmly(console: Console) -> None:
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    answer = viewer.get("/models")
    assert answer.status_code == 200 and "does not answer" in answer.text
    assert console.program("GET", "/api/v1/models").status_code == 503


def test_a_model_is_seen_loaded_watched_and_unloaded_from_the_page(console: Console, tmp_path: Path) -> None:
    console.home.settings_file.write_text("[engines]\nthreads = 2\ncontext_tokens = 512\nslots = 2\n")
    import_model(write_tiny_llama(tmp_path / "tiny.gguf"), Registry(console.home.models), aliases=("small",))
    (console.home.models / "broken").mkdir()
    (console.home.models / "broken" / "card.json").write_text("{")
    viewer = enter(console, person(console, "eve", Role.VIEWER).name)
    operator = enter(console, person(console, "ada", Role.OPERATOR).name)
    sent = {"csrf": csrf(operator)}
    with running_engines(console.home) as engines:
        listed = viewer.get("/models").text
        assert ">tiny</a>" in listed and "not loaded" in listed and "Not listed: broken" in listed
        page = viewer.get("/models/small").text
        assert "appliance model admit tiny" in page and "longest context" in page and "/models/tiny/load" not in page
        assert viewer.post("/models/tiny/load", data={"csrf": csrf(viewer)}).status_code == 403
        assert operator.post("/models/tiny/load", data={**sent, "context": "many"}).status_code == 400
        assert operator.post("/models/nothing/load", data=sent).status_code == 404
        operator.post("/models/tiny/load", data={**sent, "context": "256", "slots": "1", "pin": "yes"})
        until(lambda: engines.row("tiny")["state"] == "ready")
        page = operator.get("/models/tiny").text
        assert "ready, pinned" in page and "1 requests at once of 256 tokens" in page and "The end of its log" in page
        told = console.program("GET", "/api/v1/models/tiny").get_json()
        assert told["engine"]["pinned"] and "api_key_file" not in str(told)
        assert operator.post("/models/tiny/unload", data=sent).status_code == 303
        until(lambda: not engines.row("tiny"))
        asked = {"context_tokens": 128}
        assert console.program("POST", "/api/v1/models/tiny/load", json=asked).status_code == 202
        assert console.program("POST", "/api/v1/models/tiny/load", json={"context": 1}).status_code == 400
