"""`appliance model admit` as a person calls it: with real engines, and with one that a test scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.cli import admit as command
from appliance.config import Home
from models import trials
from models.minilm import ensure_default
from models.registry import Registry
from tests.inference.engines_process import running_engines
from tests.inference.tiny_model import write_tiny_llama
from tests.models.gguf_files import write_good
from tests.models.scripted_model import CONTEXT, Scripted, scripted_model
from tests.models.test_model_command import Cli, cli

__all__ = ["cli"]


class Engines:
    """Stands for the client of the engines process, with one model that runs elsewhere."""

    loaded: tuple[str, ...] = ()
    calls: list[str]
    url = ""

    def __init__(self, home: Home) -> None:
        self.home = home

    def engines(self) -> list[dict[str, Any]]:
        return [{"model": name, "engine": "scripted"} for name in self.loaded]

    def load(self, model: str, again: bool = False, pin: bool | None = None) -> dict[str, Any]:
        self.calls.append(f"load {model}" + {None: "", True: " pinned", False: ""}[pin])
        return {"start_seconds": 5.0}

    def unload(self, model: str) -> dict[str, Any]:
        self.calls.append(f"unload {model}")
        return {}

    def wait_ready(self, model: str, seconds: float, progress: object) -> dict[str, Any]:
        (self.home.run / "key").write_text("secret\n")
        return {
            "url": self.url, "api_key_file": str(self.home.run / "key"), "engine": "scripted",
            "context_tokens": CONTEXT, "served_as": "upstream",
        }  # fmt: skip


@pytest.fixture
def model(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    assert cli("model", "import", write_good(tmp_path / "coder.gguf"), "--task", "review", "--alias", "c") == 0
    assert "it may do: review" in cli.out
    monkeypatch.setattr(command, "EnginesClient", Engines)
    with scripted_model() as running:
        monkeypatch.setattr(Engines, "url", running.url)
        monkeypatch.setattr(Engines, "calls", [], raising=False)
        yield running


def test_what_a_model_proved_it_may_do_and_the_card_shows_how(cli: Cli, model: Scripted) -> None:
    assert cli("model", "admit", "c") == 0
    assert "it may do: chat, repair, review, triage" in cli.out and "passed  edit_format" in cli.out
    assert "tokens/s" in cli.out and "trying context" in cli.err
    assert Engines.calls == ["load coder pinned", "unload coder"] and {a["key"] for a in model.asked} == {
        "Bearer secret"
    }
    assert {asked["model"] for asked in model.asked} == {"upstream"}
    assert cli("model", "show", "coder") == 0 and "passed  context" in cli.out and "with scripted, 2048" in cli.out
    shown = cli.json("model", "show", "coder")
    assert shown["score"]["tasks"] == ["chat", "repair", "review", "triage"] and shown["tasks_by_person"] == ["review"]
    assert shown["score"]["tokens_per_second"] > 0 and len(shown["score"]["checks"]) == 9


def test_a_model_that_was_loaded_stays_loaded(cli: Cli, model: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engines, "loaded", ("coder",))
    assert cli("model", "admit", "coder", "--task", "triage") == 0
    assert Engines.calls == ["load coder pinned", "load coder"]


def test_a_task_that_is_not_proven_is_an_error_and_the_score_is_kept(cli: Cli, model: Scripted) -> None:
    model.answers["secret word"] = "no idea"
    status, message, hint = cli.refused("model", "admit", "coder", "--task", "repair", "--task", "review")
    assert status == 5 and message.startswith("coder is not admitted for repair, review (context: a prompt of")
    assert "--force" in hint
    card = Registry(cli.home.models).get("coder")
    assert card.score is not None and not card.score.passed("context") and card.tasks == ("review",)
    assert cli("model", "admit", "coder") == 0, "without --task, what came of it is the answer"
    assert "it may do: review" in cli.out and "FAILED  context" in cli.out


def test_a_persons_word_needs_no_trial(cli: Cli, model: Scripted) -> None:
    assert cli("model", "admit", "coder", "--task", "chat", "--force") == 0
    assert "may do: chat, review (on your word)" in cli.out and model.asked == []
    status, message, hint = cli.refused("model", "admit", "coder", "--force")
    assert status == 2 and "needs the tasks" in message and "--task" in hint


def test_a_model_that_was_never_tried_says_so(cli: Cli, tmp_path: Path) -> None:
    assert cli("model", "import", write_good(tmp_path / "coder.gguf")) == 0
    assert "it may do: nothing yet (`appliance model admit coder` tries it)" in cli.out
    assert cli("model", "show", "coder") == 0 and "not tried yet: `appliance model admit coder`" in cli.out
    status, message, hint = cli.refused("model", "admit", "coder")
    assert status == 1 and "does not answer" in message and "appliance up" in hint


@pytest.mark.integration
def test_real_engines_are_asked_in_earnest(cli: Cli, tmp_path: Path) -> None:
    registry = Registry(cli.home.models)
    assert cli("model", "import", write_tiny_llama(tmp_path / "tiny.gguf")) == 0
    embedder = ensure_default(registry, lambda line: None)
    registry.update(embedder.with_(tasks=(), tasks_by_person=()))
    cli.home.settings_file.write_text("[engines]\nslots = 1\ncontext_tokens = 2048\n")
    with running_engines(cli.home):
        assert cli("model", "admit", embedder.id) == 0 and "it may do: embedding" in cli.out, cli.out
        assert cli("model", "admit", "tiny") == 0, cli.err
    score = registry.get("tiny").score
    assert score is not None and score.engine == "llama.cpp" and score.context_tokens == 2048
    seen = {check.name: check for check in score.checks}
    assert seen["stop"].passed and seen["json_schema"].passed, "the engine's manners, whatever the model says"
    assert not seen["edit_format"].passed and not seen["context"].passed, "weights by chance can do nothing"
    assert "usable form in 0 of 3" in seen["edit_format"].said, "the prompts fit and are answered"
    assert 0.8 * 2048 <= int(seen["context"].said.split()[3]) < 2048
    assert registry.get("tiny").tasks == ()


@pytest.mark.integration
def test_a_model_behind_a_real_engine_is_admitted_for_what_it_does_well(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "WORD", "paris")  # all that this model can say
    assert cli("model", "import", write_tiny_llama(tmp_path / "parrot.gguf", answer="Paris")) == 0
    cli.home.settings_file.write_text("[engines]\nslots = 1\ncontext_tokens = 2048\n")
    with running_engines(cli.home):
        assert cli("model", "admit", "parrot", "--task", "chat") == 0, cli.err
        assert "it may do: chat\n" in cli.out, cli.out
        assert cli("model", "admit", "parrot", "--task", "repair") == 5
    card = Registry(cli.home.models).get("parrot")
    assert card.tasks == ("chat",) and card.score is not None
    assert card.score.first_token_seconds and card.score.tokens_per_second and card.score.prompt_tokens_per_second
