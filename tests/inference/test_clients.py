"""Clients as people install them, unmodified, against the real gateway process and a scripted engine.

The `openai` client's chats, completions and embeddings are in `test_gateway`; heavier clients have a target of their
own (`make test-clients`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from inference.keys import KeyStore
from tests.inference.gateway_process import BIG, CODER, EMBEDDER, Gateway, card, make_home, publish, running_gateway
from tests.inference.mock_engine import (
    MockEngine,
    answer,
    delta,
    fail,
    prefill,
    say,
    talk,
    talk_then_die,
    whole_answer,
)

RANKER = "ranker"
HELLO: Any = [{"role": "user", "content": "Hello?"}]
LOOK: Any = {"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {"at": {}}}}


@pytest.fixture(scope="module")
def process(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("clients"))
    (home.models / RANKER).mkdir()
    (home.models / RANKER / "card.json").write_text(card(RANKER, ("rerank",)).model_dump_json())
    publish(home, {EMBEDDER: engine.url, CODER: engine.url, BIG: engine.url, RANKER: engine.url})
    with running_gateway(home) as running:
        yield running


@pytest.fixture
def gateway(process: Gateway, engine: MockEngine) -> Gateway:
    engine.will(talk())
    return process


@pytest.fixture
def speaker(gateway: Gateway) -> Iterator[anthropic.Anthropic]:
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


def test_anthropic_client_gets_a_message(speaker: anthropic.Anthropic, engine: MockEngine) -> None:
    made = speaker.messages.create(model="auto", max_tokens=5, system="Be kind.", messages=HELLO)
    assert (made.content[0].type, made.stop_reason, made.model) == ("text", "end_turn", CODER)
    assert made.content[0].text == "Hello there" and made.usage.output_tokens == 3
    assert engine.asked[0].path == "/v1/chat/completions"
    assert engine.asked[0].body["messages"][0] == {"role": "system", "content": "Be kind."}


def test_anthropic_client_streams_thoughts_text_and_tools(speaker: anthropic.Anthropic, engine: MockEngine) -> None:
    engine.will(tool_stream('{"at"', ': "tree"}'))
    with speaker.messages.stream(model=CODER, max_tokens=50, messages=HELLO, tools=[LOOK]) as stream:
        text = "".join(stream.text_stream)
        made = stream.get_final_message()
    assert text == "I look." and [block.type for block in made.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert (made.content[2].name, made.content[2].input, made.content[3].input) == ("look", {"at": "tree"}, {})
    assert made.stop_reason == "tool_use" and made.usage.input_tokens == 7 and made.usage.output_tokens == 3


def test_anthropic_client_answers_a_tool(speaker: anthropic.Anthropic, engine: MockEngine) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "tree"}'}}
    engine.will(answer(whole_answer("", tool_calls=[call])), talk())
    first = speaker.messages.create(model=CODER, max_tokens=50, messages=HELLO, tools=[LOOK])
    assert [block.type for block in first.content] == ["tool_use"]
    result: Any = {"type": "tool_result", "tool_use_id": first.content[0].id, "content": "an owl"}
    more = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    speaker.messages.create(model=CODER, max_tokens=50, messages=more, tools=[LOOK])
    sent = engine.asked[1].body["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "c1" and sent[2]["content"] == "an owl"


def test_anthropic_client_waits_through_a_long_prefill(speaker: anthropic.Anthropic, engine: MockEngine) -> None:
    engine.will(prefill(1.0, talk()))
    with speaker.messages.stream(model=CODER, max_tokens=5, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "Hello there"


def test_anthropic_client_hears_that_a_stream_broke_off(speaker: anthropic.Anthropic, engine: MockEngine) -> None:
    engine.will(talk_then_die)
    with (
        pytest.raises(anthropic.APIStatusError, match="went away"),
        speaker.messages.stream(model=CODER, max_tokens=5, messages=HELLO) as stream,
    ):
        list(stream.text_stream)


def test_anthropic_client_knows_our_errors(speaker: anthropic.Anthropic, gateway: Gateway, engine: MockEngine) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        speaker.messages.create(model="none", max_tokens=5, messages=HELLO)
    assert missing.value.type == "not_found_error" and missing.value.request_id
    stranger = anthropic.Anthropic(base_url=gateway.url, api_key="apl_wrong", max_retries=0)
    with stranger, pytest.raises(anthropic.AuthenticationError):
        stranger.messages.create(model=CODER, max_tokens=5, messages=HELLO)
    engine.will(fail(500, "it broke"))
    patient = speaker.with_options(max_retries=2)
    with pytest.raises(anthropic.InternalServerError):
        patient.messages.create(model=CODER, max_tokens=5, messages=HELLO)
    assert len(engine.asked) == 3, "the gateway tried three times; the client was told not to"


def test_anthropic_client_lists_models(speaker: anthropic.Anthropic) -> None:
    assert [model.id for model in speaker.models.list()] == [EMBEDDER, BIG, CODER, RANKER]
    assert speaker.models.retrieve("coder").display_name == CODER


@pytest.fixture
def client(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, timeout=20) as made:
        yield made


RESPONSE_LOOK: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": False}


def test_openai_client_gets_a_response_and_goes_on_from_it(client: openai.OpenAI, engine: MockEngine) -> None:
    first = client.responses.create(model="auto", input="Hello?", instructions="Be kind.")
    assert (first.output_text, first.status, first.model) == ("Hello there", "completed", CODER)
    assert first.usage is not None and first.usage.total_tokens == 10
    second = client.responses.create(model=CODER, input="And?", previous_response_id=first.id)
    assert [message["content"] for message in engine.asked[1].body["messages"]] == ["Hello?", "Hello there", "And?"]
    assert second.previous_response_id == first.id
    assert client.responses.retrieve(first.id).output_text == "Hello there"
    client.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=CODER, input="And?", previous_response_id=first.id)
    assert caught.value.code == "previous_response_not_found"


def test_openai_client_streams_a_response_with_thoughts_and_tools(client: openai.OpenAI, engine: MockEngine) -> None:
    engine.will(tool_stream('{"at"', ': "tree"}'))
    with client.responses.stream(model=CODER, input="Hello?", tools=[RESPONSE_LOOK]) as stream:
        kinds = [event.type for event in stream]
        made = stream.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert [item.type for item in made.output] == ["reasoning", "message", "function_call", "function_call"]
    assert made.output[2].type == "function_call" and made.output[2].arguments == '{"at": "tree"}'


def test_openai_client_takes_several_steps_with_a_tool(client: openai.OpenAI, engine: MockEngine) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    engine.will(answer(whole_answer("", tool_calls=[call])), talk())
    first = client.responses.create(model=CODER, input="Hello?", tools=[RESPONSE_LOOK], store=False)
    (item,) = first.output
    assert item.type == "function_call" and item.call_id == "c1"
    result: Any = {"type": "function_call_output", "call_id": item.call_id, "output": "an owl"}
    more: Any = [{"role": "user", "content": "Hello?"}, item.to_dict(), result]
    second = client.responses.create(model=CODER, input=more, tools=[RESPONSE_LOOK])
    assert second.output_text == "Hello there"
    assert [message["role"] for message in engine.asked[1].body["messages"]] == ["user", "assistant", "tool"]
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_openai_client_hears_that_a_response_failed(client: openai.OpenAI, engine: MockEngine) -> None:
    engine.will(talk_then_die)
    with client.responses.create(model=CODER, input="Hello?", stream=True) as stream:
        last = list(stream)[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None and "went away" in last.response.error.message


def test_a_response_is_not_shown_to_another_key(client: openai.OpenAI, gateway: Gateway) -> None:
    first = client.responses.create(model=CODER, input="Hello?")
    _, token = KeyStore(gateway.home.secrets / "keys.json").create("another")
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=token, max_retries=0) as other:
        with pytest.raises(openai.NotFoundError):
            other.responses.retrieve(first.id)
        with pytest.raises(openai.BadRequestError):
            other.responses.create(model=CODER, input="And?", previous_response_id=first.id)


def test_a_reranker_answers_with_the_best_documents_first(gateway: Gateway, engine: MockEngine) -> None:
    rows = [{"index": 0, "relevance_score": -2.5}, {"index": 1, "relevance_score": 3.0}]
    engine.will(answer({"results": rows, "usage": {"prompt_tokens": 9, "total_tokens": 9}}))
    asked = {"model": RANKER, "query": "owl", "documents": ["a tree", {"text": "an owl"}], "return_documents": True}
    made = gateway.http.post("/v1/rerank", json=asked).json()
    assert [(row["index"], row["document"]["text"]) for row in made["results"]] == [(1, "an owl"), (0, "a tree")]
    assert made["model"] == RANKER and made["usage"]["total_tokens"] == 9
    assert engine.asked[0].path == "/v1/rerank" and engine.asked[0].body["documents"] == ["a tree", "an owl"]
    assert len(gateway.http.post("/v1/rerank", json={**asked, "top_n": 1}).json()["results"]) == 1
    for wrong in ({"query": ""}, {"documents": []}, {"documents": [3]}, {"top_n": 0}):
        assert gateway.http.post("/v1/rerank", json={**asked, **wrong}).status_code == 400


def test_anthropic_client_counts_tokens_as_the_engine_does(
    speaker: anthropic.Anthropic, gateway: Gateway, engine: MockEngine
) -> None:
    engine.will(answer({"prompt": "<user>Hello?"}), answer({"tokens": [1, 2, 3, 4]}))
    assert speaker.messages.count_tokens(model=CODER, messages=HELLO, tools=[LOOK]).input_tokens == 4
    assert [asked.path for asked in engine.asked] == ["/apply-template", "/tokenize"]
    assert engine.asked[0].body["tools"][0]["function"]["name"] == "look"
    assert engine.asked[1].body["content"] == "<user>Hello?"
    engine.will(fail(404), answer({"count": 9, "tokens": []}))
    assert speaker.messages.count_tokens(model=CODER, messages=HELLO).input_tokens == 9
    assert engine.asked[1].body["messages"] == HELLO
    engine.will(fail(404))
    long = {"role": "user", "content": "word " * 80}
    raw = gateway.http.post("/v1/messages/count_tokens", json={"model": "auto", "messages": [long]})
    assert (raw.json(), raw.headers["x-appliance-count"]) == ({"input_tokens": 100}, "estimate")
