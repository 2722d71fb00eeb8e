"""Pictures by every door: as parts of one message, in what a tool gave back, and for models that were seen to see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inference.gateway import messages, responses
from inference.gateway.chat import SHOWN_BELOW, prepare_chat
from inference.gateway.faults import ApiError
from models.score import Check, Score
from tests.inference.gateway_process import BIG, CODER, Gateway, card, make_home, publish, running_gateway
from tests.inference.mock_engine import MockEngine, talk

DATA = "iVBORw0KGgo="
URL = f"data:image/png;base64,{DATA}"
PICTURE = {"type": "image_url", "image_url": {"url": URL}}
TEXT = {"type": "text", "text": "what?"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}
INPUT_IMAGE = {"type": "input_image", "image_url": URL, "detail": "auto"}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": [PICTURE, TEXT]}]},
    "/v1/messages": {"messages": [{"role": "user", "content": [IMAGE, TEXT]}], "max_tokens": 9},
    "/v1/responses": {"input": [{"role": "user", "content": [INPUT_IMAGE, {"type": "input_text", "text": "what?"}]}]},
}
BY: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "/v1/chat/completions": lambda body: body,
    "/v1/messages": messages.chat_body,
    "/v1/responses": responses.chat_body,
}


@pytest.mark.parametrize("door", BODIES)
def test_a_picture_reaches_the_engine_in_the_same_form_by_every_door(door: str) -> None:
    prepared = prepare_chat(BY[door](BODIES[door]))
    assert prepared.payload["messages"] == [{"role": "user", "content": [PICTURE, TEXT]}]
    assert "vision" in prepared.needs and prepared.prompt_tokens > 900


def test_pictures_that_tools_give_back_follow_their_results_as_the_users() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [IMAGE]}
    other = {"type": "tool_result", "tool_use_id": "t2", "content": "dark"}
    made = messages.chat_body({"messages": [{"role": "user", "content": [result, other, TEXT]}]})["messages"]
    outputs = [{"type": "function_call_output", "call_id": "t1", "output": [INPUT_IMAGE]},
               {"type": "function_call_output", "call_id": "t2", "output": "dark"}]  # fmt: skip
    told = [
        {"role": "tool", "tool_call_id": "t1", "content": SHOWN_BELOW},
        {"role": "tool", "tool_call_id": "t2", "content": "dark"},
    ]
    assert made == [*told, {"role": "user", "content": [PICTURE, TEXT]}]
    assert responses.chat_body({"input": outputs})["messages"] == [*told, {"role": "user", "content": [PICTURE]}]
    later = responses.chat_body({"input": [*outputs, {"role": "user", "content": "what?"}]})["messages"]
    assert later[2:] == [{"role": "user", "content": [PICTURE]}, {"role": "user", "content": "what?"}]


@pytest.mark.parametrize(
    "source",
    [
        {"type": "url", "url": "https://site.example/a.png"},
        {"type": "file", "file_id": "f"},
        {"type": "base64", "media_type": "image/svg+xml", "data": DATA},
        {"type": "base64", "media_type": "image/png", "data": "no base64!"},
        None,
    ],
)
def test_other_pictures_of_messages_are_refused(source: Any) -> None:
    refused(messages.chat_body, {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]})


@pytest.mark.parametrize("part", [{"image_url": "https://site.example/a.png"}, {"file_id": "f"}, {"image_url": None}])
def test_other_pictures_of_responses_are_refused(part: Any) -> None:
    refused(responses.chat_body, {"input": [{"role": "user", "content": [{"type": "input_image", **part}]}]})


def test_only_people_and_tools_show_pictures() -> None:
    refused(messages.chat_body, {"messages": [{"role": "assistant", "content": [IMAGE]}]})
    refused(responses.chat_body, {"input": [{"role": "assistant", "content": [INPUT_IMAGE]}]})


def refused(by: Callable[[dict[str, Any]], dict[str, Any]], body: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        by(body)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_content")


@pytest.fixture(scope="module")
def gateway(engine: MockEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("gateway"))
    seeing = card(BIG, ("chat",), 16384).scored(
        Score(tasks=("chat",), checks=(Check(name="vision", passed=True, said="it saw"),))
    )
    (home.models / BIG / "card.json").write_text(seeing.model_dump_json())
    publish(home, {CODER: engine.url, BIG: engine.url})
    with running_gateway(home) as running:
        yield running


@pytest.mark.parametrize("door", BODIES)
def test_pictures_go_to_a_model_that_was_seen_to_see_and_by_name_to_no_other(
    gateway: Gateway, engine: MockEngine, door: str
) -> None:
    engine.will(talk())
    answered = gateway.http.post(door, json={**BODIES[door], "model": "auto"})
    assert (answered.status_code, answered.headers["x-appliance-model"]) == (200, BIG)
    assert engine.asked[-1].body["messages"][-1]["content"][0] == PICTURE
    blind = gateway.http.post(door, json={**BODIES[door], "model": CODER})
    assert blind.status_code == 404 and "was not seen to see pictures" in blind.text
