"""`appliance model admit` of models that another OpenAI-compatible server holds, through a real engines process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from models.registry import Registry
from tests.inference.engines_process import running_engines
from tests.models.scripted_model import CONTEXT, Scripted, scripted_model
from tests.models.test_model_command import Cli, cli

__all__ = ["cli"]
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def server(cli: Cli) -> Iterator[Scripted]:
    cli.home.settings_file.write_text("[engines]\nslots = 1\n")
    with scripted_model() as made, running_engines(cli.home):
        yield made


def add(cli: Cli, server: Scripted, *more: str) -> None:
    (cli.home.root / "their.key").write_text("their-key\n")
    key = ("--key-file", str(cli.home.root / "their.key"))
    assert cli("model", "remote", "far", "--url", f"{server.url}/v1", *key, *more) == 0, cli.err


def test_a_model_elsewhere_is_tried_for_all_that_a_writer_may_do(cli: Cli, server: Scripted) -> None:
    add(cli, server)
    assert cli("model", "admit", "far") == 0, cli.err
    assert "it may do: chat, repair, review, triage" in cli.out and "passed  tool_call" in cli.out
    assert {asked["model"] for asked in server.asked} == {"upstream"}
    assert {asked["key"] for asked in server.asked} == {"Bearer their-key"}
    score = Registry(cli.home.models).get("far").score
    assert score is not None and (score.engine, score.context_tokens) == ("remote", CONTEXT)
    assert all(check.passed for check in score.checks if check.name != "vision"), score.failed()


def test_what_a_model_elsewhere_does_badly_is_not_given(cli: Cli, server: Scripted) -> None:
    add(cli, server)
    server.answers["secret word"] = "no idea"
    assert cli("model", "admit", "far") == 0, cli.err
    assert "it may do: nothing yet" in cli.out and "FAILED  context" in cli.out


def test_an_embedder_elsewhere_is_tried_as_one(cli: Cli, server: Scripted) -> None:
    add(cli, server, "--task", "embedding")
    assert cli("model", "admit", "far") == 0, cli.err
    assert "passed  vectors" in cli.out and {asked["path"] for asked in server.asked} == {"/v1/embeddings"}


def test_a_server_that_goes_away_is_named_as_the_reason(cli: Cli, server: Scripted) -> None:
    add(cli, server)
    server.deaf = lambda body: len(server.asked) > 3
    assert cli("model", "admit", "far", "--task", "chat") == 5
    assert "went away" in cli.err and Registry(cli.home.models).get("far").tasks == ()
