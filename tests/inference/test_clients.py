"""Clients as people install them, unmodified, against the real gateway process and a scripted engine.

The `openai` client's chats, completions and embeddings are in `test_gateway`; heavier clients have a target of their
own (`make test-clients`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.inference.gateway_process import BIG, CODER, EMBEDDER, Gateway, make_home, publish, running_gateway
from tests.inference.mock_engine import (
    MockEngine,
    answer,
    delta,
    fail,
    mock_engine,
    prefill,
    say,
    talk,
    talk_then_die,
    whole_answer,
)

HELLO: Any = [{"role": "user", "content": "Hello?"}]
LOOK: Any = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {"at": {}}}}


@pytest.fixture(scope="module")
def engine() -> Iterator[MockEngine]:
    with mock_engine() as running:
        yield running


@pytest.fixture(scope="module")
def process(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("clients"))
    publish(home, {EMBEDDER: engine.url, CODER: engine.url, BIG: engine.url})
    with running_gateway(home) as running:
        yield running


@pytest.fixture
def gateway(process: Gateway, engine: MockEngine) -> Gateway:
    engine.will(talk())
    return process


@pytest.fixture
def claude(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0, timeout=20) as made:
        yield made


def tool_stream(*texts: str) -> Any:
    """An engine that thinks, speaks and calls a tool twice."""
    head = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
    last = {"index": 1, "id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    pieces = [delta(tool_calls=[{"index": 0, "function": {"arguments": text}}]) for text in texts]
    return say(
        delta(role="assistant", content=None), delta(reasoning_content="hm"), delta(content="I look."),
        delta(tool_calls=[head]), *pieces, delta(tool_calls=[last]), delta("stop"),
    )  # fmt: skip


def test_anthropic_client_gets_a_message(claude: anthropic.Anthropic, engine: MockEngine) -> None:
    made = claude.messages.create(model="auto", max_tokens=5, system="Be kind.", messages=HELLO)
    assert (made.content[0].type, made.stop_reason, made.model) == ("text", "end_turn", CODER)
    assert made.content[0].text == "Hello there" and made.usage.output_tokens == 3
    assert engine.asked[0].path == "/v1/chat/completions"
    assert engine.asked[0].body["messages"][0] == {"role": "system", "content": "Be kind."}


def test_anthropic_client_streams_thoughts_text_and_tools(claude: anthropic.Anthropic, engine: MockEngine) -> None:
    engine.will(tool_stream('{"at"', ': "tree"}'))
    with claude.messages.stream(model=CODER, max_tokens=50, messages=HELLO, tools=[LOOK]) as stream:
        text = "".join(stream.text_stream)
        made = stream.get_final_message()
    assert text == "I look." and [block.type for block in made.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert (made.content[2].name, made.content[2].input, made.content[3].input) == ("look", {"at": "tree"}, {})
    assert made.stop_reason == "tool_use" and made.usage.input_tokens == 7 and made.usage.output_tokens == 3


def test_anthropic_client_answers_a_tool(claude: anthropic.Anthropic, engine: MockEngine) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "tree"}'}}
    engine.will(answer(whole_answer("", tool_calls=[call])), talk())
    first = claude.messages.create(model=CODER, max_tokens=50, messages=HELLO, tools=[LOOK])
    assert [block.type for block in first.content] == ["tool_use"]
    result: Any = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "an owl"}
    more = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    claude.messages.create(model=CODER, max_tokens=50, messages=more, tools=[LOOK])
    sent = engine.asked[1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "c1" and sent[2]["content"] == "an owl"


def test_anthropic_client_waits_through_a_long_prefill(claude: anthropic.Anthropic, engine: MockEngine) -> None:
    engine.will(prefill(1.0, talk()))
    with claude.messages.stream(model=CODER, max_tokens=5, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "Hello there"


def test_anthropic_client_hears_that_a_stream_broke_off(claude: anthropic.Anthropic, engine: MockEngine) -> None:
    engine.will(talk_then_die)
    with (
        pytest.raises(anthropic.APIStatusError, match="went away"),
        claude.messages.stream(model=CODER, max_tokens=5, messages=HELLO) as stream,
    ):
        list(stream.text_stream)


def test_anthropic_client_knows_our_errors(claude: anthropic.Anthropic, gateway: Gateway, engine: MockEngine) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="none", max_tokens=5, messages=HELLO)
    assert missing.value.type == "not_found_error" and missing.value.request_id
    stranger = anthropic.Anthropic(base_url=gateway.url, api_key="apl_wrong", max_retries=0)
    with stranger, pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model=CODER, max_tokens=5, messages=HELLO)
    engine.will(fail(500, "it broke"))
    patient = claude.with_options(max_retries=2)
    with pytest.raises(anthropic.InternalServerError):
        patient.messages.create(model=CODER, max_tokens=5, messages=HELLO)
    assert len(engine.asked) == 3, "the gateway tried three times; the client was told not to"


def test_anthropic_client_lists_models(claude: anthropic.Anthropic) -> None:
    assert [model.id for model in claude.models.list()] == [EMBEDDER, BIG, CODER]
    assert claude.models.retrieve("coder").display_name == CODER
